/**
 * What a test waits for comes late on a machine that has other work. Vitest's own `vi.waitFor` and `vi.waitUntil` give up after a second,
 * which fails by load and proves nothing; here they wait as long as a test may, unless they are told otherwise.
 */
import { vi } from 'vitest'

const patienceMs = 60_000

type Options = Parameters<typeof vi.waitFor>[1]
const patient = (options: Options): Options => (typeof options === 'number' ? options : { timeout: patienceMs, ...options })

const { waitFor, waitUntil } = vi
vi.waitFor = (callback, options) => waitFor(callback, patient(options))
vi.waitUntil = (callback, options) => waitUntil(callback, patient(options))
