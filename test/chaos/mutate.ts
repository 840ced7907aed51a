/** Loaded before everything else (`--import`) in the processes of a run with a mutant: replaces the text of modules as they are read. */
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import { activeMutant, replaceOnce } from './mutants.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const changes = activeMutant?.source ?? []

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    const file = url.startsWith('file:') ? fileURLToPath(url) : ''
    const ours = changes.filter((change) => `${root}${change.file}` === file)
    if (ours.length === 0) return loaded
    const source = typeof loaded.source === 'string' ? loaded.source : new TextDecoder().decode(loaded.source)
    return { ...loaded, source: ours.reduce((text, change) => replaceOnce(text, change, change.file), source) }
  },
})
