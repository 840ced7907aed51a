import { describe, expect, test } from 'vitest'
import { given, timeAt } from '../../../../test/support/core-log.ts'
import { toolRequested, toolStarted } from './tools.ts'
import { turnEnded, turnInterrupted, turnResumed, turnStarted } from './turn.ts'

const running = given(turnStarted({ turnId: 't1' }))

describe('turns', () => {
  test('given nothing, when a turn starts, it runs', () => {
    expect(running.state.turn).toEqual({
      current: { turnId: 't1', startedAtPosition: 1, startedAt: timeAt(1), run: 1 },
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

  test('given a running turn, when one of several resumes it, the others and the run before it have no say any more', () => {
    const call = { messageId: 'm1', callId: 'c1' }
    const resumed = running.when(toolRequested({ ...call, name: 'Read' }), turnResumed({ turnId: 't1', run: 2 }))
    expect(resumed.state.turn.current).toMatchObject({ turnId: 't1', run: 2, startedAtPosition: 1 })
    for (const run of [2, 4]) {
      expect(() => resumed.guard(turnResumed({ turnId: 't1', run }))).toThrow(
        expect.objectContaining({ code: 'turn_already_open' }),
      )
    }
    const byRun = (run: number) => [
      toolStarted({ ...call, run }),
      turnEnded({ turnId: 't1', run }),
      turnInterrupted({ turnId: 't1', run }),
      turnResumed({ turnId: 't1', run: run + 1 }),
    ]
    for (const action of byRun(1)) expect(() => resumed.guard(action), action.type).toThrow(/run 1|still running/)
    for (const action of byRun(2)) expect(() => resumed.guard(action), action.type).not.toThrow()
  })
})
