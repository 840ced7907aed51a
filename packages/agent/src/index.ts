export { cacheWarnings, failureFields, type LogFields, type Logger, silentLogger } from './logger.ts'
export type { Model } from './model.ts'
export {
  type Circuit,
  type CircuitOptions,
  type CircuitState,
  type CircuitStore,
  type Circuits,
  circuits,
} from './recovery/circuit.ts'
export { circuitsInLog } from './recovery/circuits-in-log.ts'
export { type ClassifyOptions, classify, type Failure, type FailureKind } from './recovery/classify.ts'
export { type Capability, capabilitiesOf, type DegradedMode, degradedBy, recoveredBy } from './recovery/degradation.ts'
export { type FallBackOptions, fallBack } from './recovery/fall-back.ts'
export { type RetryPolicies, type RetryPolicy, retryPolicies } from './recovery/policies.ts'
export { type RecoverOptions, type Retry, recover } from './recovery/recover.ts'
export { type Sleep, sleep } from './recovery/sleep.ts'
