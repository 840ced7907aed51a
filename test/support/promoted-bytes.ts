import { GCProfiler, setFlagsFromString } from 'node:v8'

// V8 also makes literals old at birth, at places where they often lived long: a guess that depends on what else the process has done.
setFlagsFromString('--no-allocation-site-pretenuring')

/**
 * How many bytes outlive V8's collections of new objects while `work` runs. What gets old is found to be dead only by a full collection,
 * and until then keeps all that it points to: when what is done with grows old, collecting costs many times as much.
 */
export async function promotedBytes(work: () => Promise<void>): Promise<number> {
  const profiler = new GCProfiler()
  profiler.start()
  await work()
  const { statistics } = profiler.stop()
  const scavenges = statistics.filter(({ gcType }) => gcType === 'Scavenge')
  if (scavenges.length < 3) throw new Error(`There were ${scavenges.length} collections of new objects: too little work to tell.`)
  return scavenges.reduce((sum, { beforeGC, afterGC }) => sum + oldBytes(afterGC) - oldBytes(beforeGC), 0)
}

function oldBytes({ heapSpaceStatistics }: { readonly heapSpaceStatistics: readonly HeapSpace[] }): number {
  return heapSpaceStatistics
    .filter(({ spaceName }) => spaceName === 'old_space' || spaceName === 'large_object_space')
    .reduce((sum, { spaceUsedSize }) => sum + spaceUsedSize, 0)
}

interface HeapSpace {
  readonly spaceName: string
  readonly spaceUsedSize: number
}
