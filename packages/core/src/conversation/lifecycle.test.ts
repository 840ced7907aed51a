import { describe, expect, test } from 'vitest'
import { given, timeAt } from '../../../../test/support/core-log.ts'
import { conversationArchived, conversationStarted, conversationTitled } from './lifecycle.ts'
import { foreignRecordKept } from './lineage.ts'

const parent = { conversationId: 'c0', relation: 'sidechain', messageId: 'm1', callId: 'call' } as const
const source = { format: 'claude-code', id: 'session' }
const started = given(conversationStarted({ title: 'Plans', contextLimitTokens: 200_000, parent, source }))

describe('the life of a conversation', () => {
  test('given nothing, when it starts, it has a title, a window and an origin', () => {
    expect(started.state.lifecycle).toEqual({ title: 'Plans', started: { position: 1, occurredAt: timeAt(1) }, archived: null })
    expect(started.state.context.limitTokens).toBe(200_000)
    expect(started.state.lineage).toEqual({ parent, source, foreignRecords: 0 })
  })

  test('given a title, when it is titled, it has the new one', () => {
    expect(started.when(conversationTitled({ title: 'Better plans' })).state.lifecycle.title).toBe('Better plans')
  })

  test('given a conversation, when it is archived, it says since when', () => {
    const archived = started.when(conversationArchived({ reason: 'done' }))
    expect(archived.state.lifecycle.archived).toEqual({ position: 2, occurredAt: timeAt(2) })
  })

  test('given foreign records that are kept, it says how many', () => {
    const kept = (line: number) =>
      foreignRecordKept({ format: 'claude-code', recordType: 'mode', line, reason: 'unknown type', record: { any: 'thing' } })
    expect(given(kept(3), kept(4)).state.lineage.foreignRecords).toBe(2)
  })

  test('a second start is refused at dispatch, and on replay leaves the time of the first', () => {
    const again = conversationStarted({})
    expect(() => started.guard(again)).toThrow(
      expect.objectContaining({ code: 'conversation_already_started', details: { startedAtPosition: 1 } }),
    )
    expect(started.when(again).state).toBe(started.state)
    expect(() => given().guard(again)).not.toThrow()
  })
})
