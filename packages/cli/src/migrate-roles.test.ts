import { expect, test } from 'vitest'
import { rolesOf } from './commands/migrate.ts'

test('--roles alone gives our names, and otherwise those that are named', () => {
  expect(rolesOf(true)).toEqual({ app: 'colloquy_app', worker: 'colloquy_worker', auditor: 'colloquy_auditor' })
  expect(rolesOf('app=backend,auditor=ann')).toEqual({ app: 'backend', auditor: 'ann' })
})

test.each(['backend', 'admin=ann', 'app=', 'app=a,,', '__proto__=x'])('--roles %s is refused', (text) => {
  expect(() => rolesOf(text)).toThrow(expect.objectContaining({ code: 'usage_invalid' }))
})
