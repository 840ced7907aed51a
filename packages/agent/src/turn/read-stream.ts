import { ColloquyError, type JsonObject } from '@colloquy/core'
import type { StreamEvent } from '@colloquy/formats'
import type { Model } from '../model.ts'
import type { Attempt } from './attempt.ts'
import type { TurnRun } from './turn-run.ts'

/** After an abort the model has so long to end its stream; then what arrived counts. */
const graceMs = 2_000

/** Hands on what a model streams, until it ends or, aborted, does not. @throws what the model throws, `model_failed` for an error inside its stream */
export async function readStream(run: TurnRun, model: Model, body: JsonObject, attempt: Attempt): Promise<void> {
  const iterator = model.stream(body, { signal: run.signal })[Symbol.asyncIterator]()
  let reported: unknown
  let isHung = false
  let onHung = (): void => {}
  let stopGrace = (): void => {}
  const leave = (): void => {
    stopGrace = run.timer(() => {
      isHung = true
      onHung()
    }, graceMs)
  }
  if (run.signal.aborted) leave()
  else run.signal.addEventListener('abort', leave, { once: true })
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<StreamEvent> | undefined>((resolve, reject) => {
        onHung = () => resolve(undefined)
        if (isHung) onHung()
        iterator.next().then(resolve, reject)
      })
      if (next === undefined) {
        run.logger.warn('the model did not end its stream when it was aborted', { provider: model.provider, model: model.id })
        // It waits for itself: nobody waits for it.
        void iterator.return?.(undefined)?.catch(() => {})
        return
      }
      if (next.done === true) break
      const event = next.value
      if (event.type === 'errorReported') {
        const { kind, message } = event.error
        const details = { provider: model.provider, model: model.id, kind, problem: message }
        reported ??= new ColloquyError('model_failed', details, { cause: event.error })
      }
      attempt.take(event)
    }
  } finally {
    run.signal.removeEventListener('abort', leave)
    stopGrace()
  }
  if (reported !== undefined) throw reported
}
