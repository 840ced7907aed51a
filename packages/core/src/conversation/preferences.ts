import { defineAction } from '../action.ts'
import type { Json } from '../json.ts'
import { defineSlice } from '../slice.ts'
import { changeEntries, type Entries, entriesChange, guardEntries } from './entries.ts'

/** First `unset`, then `set`. */
export const preferencesChanged = defineAction('preferencesChanged', entriesChange)

/** How the people in the conversation want it to be. */
export const preferences = defineSlice({
  name: 'preferences',
  version: 1,
  replay: 'bare',
  initial: (): Entries => ({}),
  actions: [preferencesChanged],
  guard: (state, action) => guardEntries('preferences', state.preferences, action.payload),
  reduce: (draft, action) => changeEntries(draft as Record<string, Json>, action.payload),
})
