/** Which Redis there is to test with. Vitest calls this module once before the tests, so that what is skipped is said once. */
import { spawnSync } from "node:child_process"

/** Whether there is a `redis-server` to test with; where there is none, the tests that need it are skipped. */
export const isRedisInstalled = spawnSync("redis-server", ["--version"]).status === 0

/** A server that is there already: the laws are tried on it, too where there is no `redis-server`. */
export const given = process.env["REDIS_URL"]

export const isRedisThere = isRedisInstalled || given !== undefined

export default (): void => {
  if (isRedisInstalled) return
  console.log(
    given === undefined
      ? "Neither redis-server on the PATH nor REDIS_URL: tests of Redis are skipped"
      : "No redis-server on the PATH: of the tests of Redis only the laws are tried, on REDIS_URL"
  )
}
