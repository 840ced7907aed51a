import { fromUtf8, type StoredEnvelope, toHex } from '@colloquy/core'

/**
 * One line of JSON for one envelope, with everything the chain is made of: reading the lines back gives the same header, body,
 * salt, commitment and hash, so that a copy can be verified where there is no database. Bytes are hex; the body, which is UTF-8
 * JSON, is its text.
 */
export function exportJsonLine(envelope: StoredEnvelope): string {
  const { body, salt, commit, hash, inputHash } = envelope
  return JSON.stringify({
    format: 'colloquy-envelope@1',
    tenant: envelope.tenant,
    conversationId: envelope.conversationId,
    position: envelope.position,
    type: envelope.type,
    schemaVersion: envelope.schemaVersion,
    occurredAt: envelope.occurredAt,
    commandId: envelope.commandId,
    commandIndex: envelope.commandIndex,
    actor: envelope.actor,
    cause: envelope.cause,
    keyId: envelope.keyId,
    feedPosition: envelope.feedPosition,
    recordedAt: envelope.recordedAt,
    salt: salt && toHex(salt),
    commit: toHex(commit),
    hash: toHex(hash),
    inputHash: inputHash && toHex(inputHash),
    body: fromUtf8(body),
  })
}
