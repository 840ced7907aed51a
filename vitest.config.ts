import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const conditions = ['@colloquy/source', 'module', 'node', 'development|production']

/** What takes a minute or more. Begun last, it would leave the other worker idle. */
const longFiles = [
  'test/chaos/',
  'test/contract/event-log',
  'test/cli/commands',
  'test/formats/codecs-data',
  'packages/formats/src/codecs/home',
  'test/subscriptions/load',
  'test/end-to-end/transcripts',
  'test/formats/hostile-store',
  'test/formats/streams-data',
]

class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = longFiles.findIndex((name) => moduleId.includes(name))
      return place < 0 ? longFiles.length : place
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    // Two workers: the suites share real servers, and a bare CI machine has two cores.
    maxWorkers: 2,
    sequence: { sequencer: LongFilesFirst },
    // Tests connect as a superuser, and would be told so by each file.
    execArgv: ['--disable-warning=COLLOQUY_DATABASE'],
    // Generous: properties and processes are slow on a machine that has other work, and no test measures time.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    setupFiles: ['test/support/patience.ts'],
    expect: { poll: { timeout: 60_000 } },
  },
})
