/** What the benches compare with is installed on the first use, by a package.json of its own: users do not pay for our comparisons. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const directory = fileURLToPath(new URL('.', import.meta.url))

export function installPeers(say: (text: string) => void): void {
  const { dependencies } = JSON.parse(readFileSync(`${directory}package.json`, 'utf8')) as {
    dependencies: Record<string, string>
  }
  if (Object.keys(dependencies).every((name) => existsSync(`${directory}node_modules/${name}`))) return
  say('installing what we compare with (test/bench/package-lock.json), once')
  const { status, stderr } = spawnSync('npm', ['ci', '--no-workspaces'], { cwd: directory, encoding: 'utf8' })
  if (status !== 0) throw new Error(`The peers could not be installed:\n${stderr}`)
}
