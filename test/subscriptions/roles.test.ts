/** Durable subscriptions of a role that sees one tenant at a time. */
import { encodeCursor, type OpenedEnvelope } from '@colloquy/core'
import { forgetSubscription, openPostgresLog, type SubscribeOptions, subscribe } from '@colloquy/postgres'
import { sql } from 'kysely'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { appendTo, newKey } from '../support/log-writer.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { createRoles } from '../support/roles.ts'

const server = await startPostgres()
afterAll(() => server?.stop())

describe.skipIf(!server)('the application', async () => {
  const urls = server && (await createRoles(await server.createDatabase(), { partitions: 2 }))

  test('is refused a subscription to all tenants, and to forget one', async () => {
    await using log = await openPostgresLog({ url: urls?.app ?? '' })
    const refused = { code: 'tenant_missing', details: { operation: 'read subscription all' } }
    await expect(subscribe(log, { name: 'all', handle: () => {} })).rejects.toMatchObject(refused)
    await expect(forgetSubscription(log, 'all')).rejects.toMatchObject({ code: 'tenant_missing' })
  })

  test.each([false, true])(
    'subscribes to one tenant, and parks and redrives there (transactional: %s)',
    async (transactional) => {
      await using log = await openPostgresLog({ url: urls?.app ?? '' })
      const from = encodeCursor(log, await log.feedHeads())
      const name = `acme ${transactional}`
      for (const tenant of ['acme', 'zeta', 'acme']) await appendTo(log, newKey(tenant), [{}])
      let isRepaired = false
      const handled: OpenedEnvelope[] = []
      const onError = vi.fn<() => void>()
      const options: SubscribeOptions = {
        name,
        from,
        filter: { tenant: 'acme' },
        tries: 1,
        onPoison: 'park',
        onError,
        transactional,
        handle: (envelopes: readonly OpenedEnvelope[]) => {
          if (!isRepaired) throw new Error('not yet')
          handled.push(...envelopes)
        },
      }
      await using subscription = await subscribe(log, options)
      await subscription.whenCaughtUp()
      expect(onError).toHaveBeenCalledTimes(2)
      const letters = await subscription.deadLetters()
      expect(letters).toMatchObject([{ tenant: 'acme' }, { tenant: 'acme' }])
      const [first] = letters as [(typeof letters)[number]]
      await expect(subscription.redrive(first)).rejects.toThrow('not yet')
      expect((await subscription.deadLetters())[0]).toMatchObject({ tries: 2 })
      isRepaired = true
      for (const letter of letters) await subscription.redrive(letter)
      expect(handled.map(({ tenant }) => tenant)).toEqual(['acme', 'acme'])
      expect(await subscription.deadLetters()).toEqual([])
    },
  )

  test('writes rows of its tenant in the transaction of the checkpoint', async () => {
    await using log = await openPostgresLog({ url: urls?.app ?? '' })
    await appendTo(log, newKey('acme'), [{}])
    await using subscription = await subscribe(log, {
      name: 'media',
      filter: { tenant: 'acme' },
      transactional: true,
      handle: async (_envelopes, { transaction, partition }) => {
        await sql`insert into media (partition, tenant, hash, media_type, bytes) values (${partition}, 'acme', 'x', 'text/plain', '')
          on conflict do nothing`.execute(transaction)
      },
    })
    await subscription.whenCaughtUp()
  })
})
