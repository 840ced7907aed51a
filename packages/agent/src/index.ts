export type { Model } from './model.ts'
