/** How an answer of node-postgres is waited for. */
import type { Client, PoolClient, QueryConfig, QueryResult } from 'pg'

/**
 * By a callback, and not by the promise of pg. For that, and for its `query_timeout`, pg writes `query.callback = (...) => {...}`, and a
 * function that is written as the value of a property is made straight in V8's old generation: the query, its parameters and its answer
 * grew old with it, whatever became of them. Half of all that appends and reads had made outlived every collection but a full one
 * (measured 2026-11-27, Node 24).
 */
export function answerTo(client: PoolClient, query: QueryConfig): Promise<QueryResult> {
  return new Promise((resolve, reject) => {
    client.query(query, (error, result) => (error ? reject(error) : resolve(result)))
  })
}

/**
 * As pg's `query_timeout`, for connections of an application too. What was sent behind a query that is not answered would wait for ever as
 * well, so the connection goes.
 */
export function inTime<T>(client: PoolClient, answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(Object.assign(new Error(`no answer within ${ms} ms`), { code: 'ETIMEDOUT' }))
      // pg's native twin has no such thing.
      const { connection } = client as Partial<Pick<Client, 'connection'>>
      connection?.stream.destroy()
    }, ms)
    answer.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error: unknown) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}
