/** Runs what is in `examples/` as its reader would. */
import { Deferred, Effect, Queue, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"

export interface Running {
  readonly child: ChildProcess
  /** The lines that it prints. */
  readonly lines: Queue.Dequeue<string>
  readonly exit: Effect.Effect<number | null>
}

/** Starts a program; it is killed with the scope. */
export const run = (file: string, ...args: ReadonlyArray<string>): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function*() {
    const lines = yield* Queue.unbounded<string>()
    const exit = yield* Deferred.make<number | null>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--import", "tsx", "--conditions=@effect-ws-hub/source", file, ...args], {
          env: { ...process.env, PORT: "0" },
          stdio: ["pipe", "pipe", "inherit"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    child.once("exit", (code) => Deferred.unsafeDone(exit, Effect.succeed(code)))
    createInterface({ input: child.stdout }).on("line", (line) => lines.unsafeOffer(line))
    return { child, lines, exit: Deferred.await(exit) }
  })

export interface Serving extends Running {
  /** Where it listens. */
  readonly url: string
}

/** Starts a server, and waits until it says where it listens. */
export const start = (file: string): Effect.Effect<Serving, never, Scope.Scope> =>
  Effect.gen(function*() {
    const running = yield* run(file)
    const listening: Effect.Effect<string> = Effect.flatMap(Queue.take(running.lines), (line) => {
      const found = /http:(\/\/[\w.:]+)/.exec(line)?.[1]
      return found === undefined ? listening : Effect.succeed(`ws:${found}`)
    })
    const early = Effect.flatMap(running.exit, (code) => Effect.dieMessage(`it ended with ${code} before it listened`))
    return { ...running, url: yield* Effect.raceFirst(listening, early) }
  })
