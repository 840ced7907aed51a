import { describe, expect, test } from 'vitest'
import { given, timeAt } from '../../../../test/support/core-log.ts'
import { conversationReducer } from './conversation.ts'
import { participantJoined, participantLeft } from './participants.ts'

const here = given(
  participantJoined({ participantId: 'ada', kind: 'person', name: 'Ada', details: { team: 'x' } }),
  participantJoined({ participantId: 'claude', kind: 'model' }),
)

describe('participants', () => {
  test('given nobody, when some join, they are there in that order', () => {
    expect(here.state.participants).toEqual([
      { id: 'ada', kind: 'person', name: 'Ada', joinedAt: timeAt(1) },
      { id: 'claude', kind: 'model', name: null, joinedAt: timeAt(2) },
    ])
  })

  test('given a participant, when they join again, name and kind are new, place and time are not', () => {
    expect(here.when(participantJoined({ participantId: 'ada', kind: 'program' })).state.participants).toEqual([
      { id: 'ada', kind: 'program', name: null, joinedAt: timeAt(1) },
      { id: 'claude', kind: 'model', name: null, joinedAt: timeAt(2) },
    ])
  })

  test('given participants, when one leaves, the others stay', () => {
    expect(here.when(participantLeft({ participantId: 'ada' })).state.participants).toMatchObject([{ id: 'claude' }])
  })

  test('the leaving of somebody who is not there is refused at dispatch, and on replay changes nothing', () => {
    const action = participantLeft({ participantId: 'bob' })
    expect(() => here.guard(action)).toThrow(
      expect.objectContaining({ code: 'participant_not_found', details: { participantId: 'bob', participants: 2 } }),
    )
    expect(here.when(action).state).toBe(here.state)
    expect(() => here.guard(participantLeft({ participantId: 'ada' }))).not.toThrow()
  })

  test('more than 10,000 are refused, but one of them may join again', () => {
    const crowd = Array.from({ length: 10_000 }, (_, n) => ({ id: `p${n}`, kind: 'person' as const, name: null, joinedAt: 0 }))
    const state = { ...here.state, participants: crowd }
    const joining = (participantId: string) => here.next(participantJoined({ participantId, kind: 'person' }))
    expect(() => conversationReducer.guard(state, joining('new'))).toThrow(
      expect.objectContaining({ code: 'json_too_wide', details: { path: 'participants', keys: 10_001, limitKeys: 10_000 } }),
    )
    expect(() => conversationReducer.guard(state, joining('p7'))).not.toThrow()
  })
})
