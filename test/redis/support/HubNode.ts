/** Nodes of the hub as child processes, and what a test asks them. */
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { ChannelsOptions } from "../../../src/channels/ChannelsConfig.js"
import { whole } from "../../bundle.js"
import { open } from "../../channels/support.js"
import { apiKey, type NodeSettings } from "./NodeSettings.js"

const root = fileURLToPath(new URL("../../..", import.meta.url))

const entry = whole("test/redis/support/program.ts")

/** Where everybody may do everything. `kept` holds more than any test publishes. */
export const channels: ChannelsOptions = {
  recoveryLimit: 0,
  withoutNamespace: { ...open },
  namespaces: {
    room: { ...open, presence: true, joinLeave: true, forcePushJoinLeave: true },
    kept: { ...open, presence: true, historySize: 20_000, historyTtl: "10 minutes", forceRecovery: true }
  }
}

export interface HubNode {
  readonly port: number
  readonly log: () => string
  readonly isAlive: () => boolean
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  readonly exit: Effect.Effect<void>
  /** As if its machine lost power. Completes when it is gone. */
  readonly kill: Effect.Effect<void>
}

/** Starts a node, and waits until it listens. It is killed with the scope. */
export const start = (settings: NodeSettings): Effect.Effect<HubNode, never, Scope.Scope> =>
  Effect.gen(function*() {
    const exit = yield* Deferred.make<void>()
    const port = yield* Deferred.make<number>()
    let log = ""
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [entry], {
          cwd: root,
          env: { PATH: process.env["PATH"], NODE: JSON.stringify(settings) },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.zipRight(Effect.sync(() => child.kill("SIGKILL")), Deferred.await(exit))
    )
    for (const output of [child.stdout, child.stderr]) {
      output.setEncoding("utf8").on("data", (text: string) => {
        log += text
        const found = /listens on (\d+)/.exec(log)?.[1]
        if (found !== undefined) Deferred.unsafeDone(port, Effect.succeed(Number(found)))
      })
    }
    child.on("close", () => Deferred.unsafeDone(exit, Effect.void))
    const ended = Effect.flatMap(Deferred.await(exit), () => Effect.dieMessage(`A node did not start: ${log}`))
    const signal = (signal: NodeJS.Signals) => Effect.sync(() => void child.kill(signal))
    return {
      port: yield* Effect.raceFirst(Deferred.await(port), ended),
      log: () => log,
      isAlive: () => child.exitCode === null && child.signalCode === null,
      signal,
      exit: Deferred.await(exit),
      kill: Effect.zipRight(signal("SIGKILL"), Deferred.await(exit))
    }
  })

// --- the server API

/** A node did not answer, or with an error. */
export class Unanswered extends Data.TaggedError("Unanswered")<{
  readonly method: string
  /** Of the protocol. Absent: there was no answer at all. */
  readonly code: number | undefined
  readonly reason: string
}> {
  override get message() {
    return `${this.method}: ${this.code ?? "no answer"}, ${this.reason}`
  }
}

interface Answer<A> {
  readonly result?: A
  readonly error?: { readonly code: number; readonly message: string }
}

/** Calls the server API of the node at this port. */
export const ask = <A>(port: number, method: string, params: unknown): Effect.Effect<A, Unanswered> =>
  Effect.tryPromise({
    try: async (signal): Promise<Answer<A>> => {
      const response = await fetch(`http://127.0.0.1:${port}/api/${method}`, {
        method: "POST",
        // A connection for each request, so that a balancer leads them to the nodes in turn.
        headers: { "X-API-Key": apiKey, "content-type": "application/json", connection: "close" },
        body: JSON.stringify(params),
        signal
      })
      return JSON.parse(await response.text())
    },
    catch: (cause) => new Unanswered({ method, code: undefined, reason: String(cause) })
  }).pipe(
    Effect.flatMap(({ error, result }) =>
      result === undefined
        ? Effect.fail(
          new Unanswered({ method, code: error?.code, reason: error?.message ?? "neither result nor error" })
        )
        : Effect.succeed(result)
    )
  )

const get = (at: { readonly port: number }, path: string): Effect.Effect<Response, Unanswered> =>
  Effect.tryPromise({
    try: (signal) => fetch(`http://127.0.0.1:${at.port}${path}`, { signal }),
    catch: (cause) => new Unanswered({ method: path, code: undefined, reason: String(cause) })
  })

/** Whether a node says that it can do its work. */
export const ready = (at: { readonly port: number }): Effect.Effect<boolean> =>
  Effect.match(get(at, "/ready"), { onFailure: () => false, onSuccess: ({ status }) => status === 200 })

/** What metrics say just now: the sum over all labels, so that one that nobody has used yet is 0. */
export const metrics = (at: { readonly port: number }): Effect.Effect<(name: string) => number, Unanswered> =>
  get(at, "/metrics").pipe(
    Effect.flatMap((response) => Effect.promise(() => response.text())),
    Effect.map((text) => (name: string) => {
      const lines = text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))
      return Array.from(lines, ([, value]) => Number(value)).reduce((sum, value) => sum + value, 0)
    })
  )

export interface Position {
  readonly offset: number
  readonly epoch: string
}

type Entries = Readonly<
  Record<string, { readonly user: string; readonly client: string; readonly conn_info?: unknown }>
>

/** Publishes by the node, or what leads to nodes, at this port. */
export const publish = (at: { readonly port: number }, channel: string, data: unknown) =>
  ask<Partial<Position>>(at.port, "publish", { channel, data })

/** Who is in a channel, by client. */
export const presence = (at: { readonly port: number }, channel: string) =>
  Effect.map(ask<{ readonly presence: Entries }>(at.port, "presence", { channel }), ({ presence }) => presence)

export const presenceStats = (at: { readonly port: number }, channel: string) =>
  ask<{ readonly num_clients: number; readonly num_users: number }>(at.port, "presence_stats", { channel })

/** How many nodes it knows that answer, itself included. */
export const nodes = (at: { readonly port: number }): Effect.Effect<number> =>
  Effect.match(ask<{ readonly nodes: ReadonlyArray<unknown>; readonly missing?: unknown }>(at.port, "info", {}), {
    onFailure: () => 0,
    onSuccess: ({ missing, nodes }) => missing === undefined ? nodes.length : 0
  })

/** The newest position of a channel's stream. */
export const top = (at: { readonly port: number }, channel: string) =>
  ask<Position>(at.port, "history", { channel, limit: 0 })
