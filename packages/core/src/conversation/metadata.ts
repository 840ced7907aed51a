import { defineAction } from '../action.ts'
import type { Json } from '../json.ts'
import { defineSlice } from '../slice.ts'
import { changeEntries, type Entries, entriesChange, guardEntries } from './entries.ts'

/** First `unset`, then `set`. */
export const metadataChanged = defineAction('metadataChanged', entriesChange)

/** What programs note about the conversation. */
export const metadata = defineSlice({
  name: 'metadata',
  version: 1,
  replay: 'bare',
  initial: (): Entries => ({}),
  actions: [metadataChanged],
  guard: (state, action) => guardEntries('metadata', state.metadata, action.payload),
  reduce: (draft, action) => changeEntries(draft as Record<string, Json>, action.payload),
})
