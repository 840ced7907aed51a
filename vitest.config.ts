import { defineConfig } from 'vitest/config'

const conditions = ['@colloquy/source', 'module', 'node', 'development|production']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    // Two workers: the suites share real servers, and a bare CI machine has two cores.
    maxWorkers: 2,
    // Tests connect as a superuser, and would be told so by each file.
    execArgv: ['--disable-warning=COLLOQUY_DATABASE'],
    // Generous: properties and processes are slow on a machine that has other work, and no test measures time.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
})
