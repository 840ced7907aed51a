/** For `node --import`: loads the files that the mutant in COLLOQUY_CHAOS_MUTANT names with its patches. */
import { registerHooks } from 'node:module'
import { type Mutant, type MutantName, mutants, type Patch } from './mutants.ts'

/** How a process ends whose mutant did not fit. */
const misfit = 97

const name = process.env['COLLOQUY_CHAOS_MUTANT'] as MutantName
const { patches = [] }: Mutant = mutants[name]
const pending = new Set<Patch>(patches)
const root = new URL('../../', import.meta.url)

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    const ours = patches.filter(({ file }) => new URL(file, root).href === url)
    if (ours.length === 0) return loaded
    let text = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source)
    for (const patch of ours) {
      const parts = text.split(patch.find)
      if (parts.length !== 2) {
        process.stderr.write(`Mutant ${name}: "${patch.find}" is ${parts.length - 1} times in ${patch.file}, not once.\n`)
        process.exit(misfit)
      }
      text = parts.join(patch.replace)
      pending.delete(patch)
    }
    return { ...loaded, source: text }
  },
})

process.on('exit', () => {
  if (pending.size === 0) return
  process.stderr.write(`Mutant ${name}: ${[...pending].map(({ file }) => file).join(', ')} was never loaded.\n`)
  process.exitCode = misfit
})
