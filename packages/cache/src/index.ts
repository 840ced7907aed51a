export { CacheError, type CacheErrorCode, type CacheErrorDetails } from './cache-error.ts'
export { type DiskTier, type DiskTierOptions, diskTier } from './disk-tier.ts'
export type { TierStats } from './guarded-tier.ts'
export type { Json as CacheValue } from './json.ts'
export { type MemoryTierOptions, memoryTier } from './memory-tier.ts'
export {
  conversationTag,
  type PromptCache,
  type PromptCacheOptions,
  type PromptCacheStats,
  type PromptConfig,
  type PromptRequest,
  promptCache,
  promptKey,
} from './prompt-cache.ts'
export type { CacheEntry, CacheTier, Generations } from './tier.ts'
export { type CacheStats, type SetOptions, type TieredCache, type TieredCacheOptions, tieredCache } from './tiered-cache.ts'
