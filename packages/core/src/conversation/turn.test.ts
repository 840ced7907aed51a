import { describe, expect, test } from 'vitest'
import { given, timeAt } from '../../../../test/support/core-log.ts'
import { turnEnded, turnInterrupted, turnStarted } from './turn.ts'

const running = given(turnStarted({ turnId: 't1' }))

describe('turns', () => {
  test('given nothing, when a turn starts, it runs', () => {
    expect(running.state.turn).toEqual({
      current: { turnId: 't1', startedAtPosition: 1, startedAt: timeAt(1) },
      last: null,
      started: 1,
    })
  })

  test.each([
    ['ended', turnEnded({ turnId: 't1', reason: 'answered' })],
    ['interrupted', turnInterrupted({ turnId: 't1' })],
  ])('given a running turn, when it is %s, none runs and that is how the last one went', (outcome, action) => {
    expect(running.when(action).state.turn).toEqual({ current: null, last: { turnId: 't1', outcome }, started: 1 })
  })

  test('a second turn is refused at dispatch while one runs, and on replay takes its place', () => {
    const second = turnStarted({ turnId: 't2' })
    expect(() => running.guard(second)).toThrow(
      expect.objectContaining({ code: 'turn_already_open', details: { turnId: 't2', openTurnId: 't1' } }),
    )
    expect(running.when(second).state.turn).toMatchObject({ current: { turnId: 't2' }, started: 2 })
    expect(() => running.when(turnEnded({ turnId: 't1' })).guard(second)).not.toThrow()
  })

  test.each([turnEnded({ turnId: 't2' }), turnInterrupted({ turnId: 't2' })])(
    '$type of a turn that does not run is refused at dispatch, and on replay changes nothing',
    (action) => {
      expect(() => running.guard(action)).toThrow(
        expect.objectContaining({ code: 'turn_not_open', details: { turnId: 't2', openTurnId: 't1' } }),
      )
      expect(() => given().guard(action)).toThrow(
        expect.objectContaining({ code: 'turn_not_open', details: { turnId: 't2', openTurnId: null } }),
      )
      expect(running.when(action).state).toBe(running.state)
    },
  )
})
