import { Effect, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { given } from "./Installed.js"

export { isRedisInstalled, isRedisThere } from "./Installed.js"

/** Low enough for the bus port of a Cluster, which is 10000 higher. */
const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })

export const freePort: Effect.Effect<number> = Effect.promise(async () => {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 30_000)
    if (await isFree(port) && await isFree(port + 10_000)) return port
  }
})

export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Runs commands with `redis-cli`, one per line. */
  readonly cli: (...args: ReadonlyArray<string>) => Effect.Effect<string>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Ends with SIGKILL; completes when the process is gone. */
  readonly kill: Effect.Effect<void>
  /** Starts it again, on the same port and in the same folder. */
  readonly start: Effect.Effect<void>
}

export interface RedisServerOptions {
  readonly port?: number
  readonly args?: ReadonlyArray<string>
  /** How clients of `redis-cli` prove who they are, and so on. */
  readonly cliArgs?: ReadonlyArray<string>
  readonly isSentinel?: boolean
  /** Files in PEM; then it speaks TLS only. */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** Not started yet. */
  readonly stopped?: boolean
}

/** A server with an empty memory, for as long as the scope lives. */
export const makeRedisServer = (
  { args = [], cliArgs = [], ...options }: RedisServerOptions = {}
): Effect.Effect<RedisServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const port = options.port ?? (yield* freePort)
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "redis-test-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
    const listening = options.tls === undefined
      ? ["--port", `${port}`, "--bind", "127.0.0.1"]
      : [
        ...["--port", "0", "--bind", "127.0.0.1", "--tls-port", `${port}`, "--tls-cert-file", options.tls.cert],
        ...["--tls-key-file", options.tls.key, "--tls-ca-cert-file", options.tls.cert, "--tls-auth-clients", "no"]
      ]
    let child: ChildProcess | undefined
    const start = Effect.async<void>((resume) => {
      let output = ""
      // A Sentinel keeps what it learns in its file.
      const file = join(folder, "sentinel.conf")
      if (options.isSentinel === true) writeFileSync(file, "")
      const started = spawn(
        "redis-server",
        options.isSentinel === true
          ? [file, "--sentinel", ...listening, "--dir", folder, ...args]
          : [
            ...listening,
            "--dir",
            folder,
            "--save",
            "",
            "--appendonly",
            "no",
            "--repl-diskless-sync-delay",
            "0",
            ...args
          ],
        { stdio: ["ignore", "pipe", "inherit"] }
      )
      child = started
      started.stdout.on("data", (data: Buffer) => {
        output += data.toString()
        if (/Ready to accept connections|Sentinel ID is/.test(output)) resume(Effect.void)
      })
      started.once("exit", () => resume(Effect.die(new Error(`redis-server ended: ${output}`))))
    })
    const signal = (signal: NodeJS.Signals) => Effect.sync(() => void child?.kill(signal))
    const kill = Effect.async<void>((resume) => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
      child.once("exit", () => resume(Effect.void))
      child.kill("SIGKILL")
    })
    yield* Effect.addFinalizer(() => kill)
    if (options.stopped !== true) yield* start
    return {
      port,
      url: `${options.tls === undefined ? "redis" : "rediss"}://127.0.0.1:${port}`,
      cli: (...command) =>
        Effect.async<string>((resume) => {
          const cli = spawn("redis-cli", ["-p", `${port}`, ...cliArgs, ...command], {
            stdio: ["ignore", "pipe", "inherit"]
          })
          let output = ""
          cli.stdout.on("data", (data: Buffer) => output += data.toString())
          cli.once("close", () => resume(Effect.succeed(output.trim())))
        }),
      signal,
      kill,
      start
    }
  })

/** The given server, under names that nobody else has; or one of our own. */
export const anyRedisServer: Effect.Effect<{ readonly url: string; readonly prefix?: string }, never, Scope.Scope> =
  Effect.suspend(() =>
    given === undefined
      ? Effect.map(makeRedisServer(), ({ url }) => ({ url }))
      : Effect.succeed({ url: given, prefix: `test-${randomUUID()}` })
  )
