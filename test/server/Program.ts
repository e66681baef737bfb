/** The command as a child process, and peers that talk to it over real sockets. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { type ClientOptions, WebSocket } from "ws"
import { own } from "../bundle.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const entry = own("src/server/main.ts")

export type Environment = Readonly<Record<string, string>>

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program {
  /** What it has printed so far. */
  readonly output: () => { readonly stdout: string; readonly stderr: string }
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  readonly exit: Effect.Effect<Exit>
}

export interface Server extends Program {
  readonly port: number
  /** Without a path. */
  readonly url: string
  readonly ws: (path: string) => string
}

const launch = (
  args: ReadonlyArray<string>,
  environment: Environment,
  onStdout: (stdout: string) => void
): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.gen(function*() {
    const exit = yield* Deferred.make<Exit>()
    const output = { stdout: "", stderr: "" }
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [entry, ...args], {
          cwd: root,
          env: { PATH: process.env["PATH"], ...environment },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.zipRight(Effect.sync(() => child.kill("SIGKILL")), Deferred.await(exit))
    )
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output.stdout += text
      onStdout(output.stdout)
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      output.stderr += text
    })
    child.on("close", (code, signal) => Deferred.unsafeDone(exit, Effect.succeed({ code, signal, ...output })))
    return {
      output: () => output,
      signal: (signal) => Effect.sync(() => child.kill(signal)),
      exit: Deferred.await(exit)
    }
  })

/** Options of Node with which it runs as if a package were not installed. */
export const without = (name: string): string => {
  const url = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`
  const hooks = `export const resolve = (specifier, context, next) => {
    if (specifier !== "${name}" && !specifier.startsWith("${name}/")) return next(specifier, context)
    throw Object.assign(new Error("Cannot find package '${name}' imported from x"), { code: "ERR_MODULE_NOT_FOUND" })
  }`
  return `--import ${url(`import { register } from "node:module"; register(${JSON.stringify(url(hooks))})`)}`
}

/** Runs it to its end. */
export const run = (args: ReadonlyArray<string>, environment: Environment = {}): Effect.Effect<Exit> =>
  Effect.scoped(Effect.flatMap(launch(args, environment, () => {}), ({ exit }) => exit))

/** Starts it, on any free port unless told otherwise, and waits for the line that says where it listens. */
export const start = (
  args: ReadonlyArray<string> = [],
  environment: Environment = {}
): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const url = yield* Deferred.make<string>()
    const anyPort = args.includes("--port") || "HUB_PORT" in environment ? [] : ["--port", "0"]
    const program = yield* launch([...anyPort, ...args], environment, (stdout) => {
      const found = /http:\/\/\S+(?=\n)/.exec(stdout)?.[0]
      if (found !== undefined) Deferred.unsafeDone(url, Effect.succeed(found))
    })
    const ended = Effect.flatMap(program.exit, ({ code, stderr }) =>
      Effect.dieMessage(`It ended with ${code}: ${stderr}`))
    const at = yield* Effect.raceFirst(Deferred.await(url), ended)
    return {
      ...program,
      url: at,
      port: Number(new URL(at).port),
      ws: (path) =>
        at.replace("http", "ws") + path
    }
  })

export interface Closed {
  readonly code: number
  readonly reason: string
}

export interface Peer {
  readonly socket: WebSocket
  readonly send: (message: string | Uint8Array) => Effect.Effect<void>
  /** The next message, bytes as numbers. */
  readonly take: Effect.Effect<string | ReadonlyArray<number>>
  readonly closed: Effect.Effect<Closed>
}

export interface Refusal {
  readonly status: number
  readonly body: string
}

const open = (url: string, options: ClientOptions) =>
  Effect.gen(function*() {
    const messages = yield* Queue.unbounded<string | ReadonlyArray<number>>()
    const closed = yield* Deferred.make<Closed>()
    const opened = yield* Deferred.make<Refusal | undefined>()
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => new WebSocket(url, options)),
      (socket) => Effect.sync(() => socket.terminate())
    )
    socket.on("message", (data: Buffer, binary: boolean) => messages.unsafeOffer(binary ? [...data] : data.toString()))
    socket.on(
      "close",
      (code, reason) => Deferred.unsafeDone(closed, Effect.succeed({ code, reason: reason.toString() }))
    )
    socket.on("error", () => {})
    socket.on("open", () => Deferred.unsafeDone(opened, Effect.succeed(undefined)))
    socket.on("unexpected-response", (_request, response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text
      })
      response.on("end", () => Deferred.unsafeDone(opened, Effect.succeed({ status: response.statusCode ?? 0, body })))
    })
    const refusal = yield* Deferred.await(opened)
    const peer: Peer = {
      socket,
      send: (message) => Effect.sync(() => socket.send(message)),
      take: Queue.take(messages),
      closed: Deferred.await(closed)
    }
    return { peer, refusal }
  })

export const connect = (url: string, options: ClientOptions = {}): Effect.Effect<Peer, never, Scope.Scope> =>
  Effect.flatMap(open(url, options), ({ peer, refusal }) =>
    refusal === undefined
      ? Effect.succeed(peer)
      : Effect.dieMessage(`${url} was refused with ${refusal.status}: ${refusal.body}`))

/** How a handshake is refused. */
export const refusal = (url: string, options: ClientOptions = {}): Effect.Effect<Refusal> =>
  Effect.scoped(
    Effect.flatMap(open(url, options), ({ refusal }) =>
      refusal === undefined ? Effect.dieMessage(`${url} was not refused`) : Effect.succeed(refusal))
  )

export const get = (url: string, init: RequestInit = {}) =>
  Effect.promise(async () => {
    const response = await fetch(url, init)
    return { status: response.status, headers: response.headers, body: await response.text() }
  })

/** What the server says, as far as the tests look at it. */
interface Document {
  readonly id?: number
  readonly error?: { readonly code: number; readonly message: string }
  readonly push?: { readonly pub?: { readonly data: unknown } }
  readonly [result: string]: unknown
}

export interface Client extends Peer {
  /** Sends a command, and waits for its reply. */
  readonly command: (command: Readonly<Record<string, unknown>>) => Effect.Effect<Document>
  /** The data of the next publication. */
  readonly publication: Effect.Effect<unknown>
}

export const endpoint = "/connection/websocket"

/** A client of the protocol that has said nothing yet. */
export const client = (server: Server, options: ClientOptions = {}): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.gen(function*() {
    const peer = yield* connect(server.ws(endpoint), options)
    const replies = yield* Queue.unbounded<Document>()
    const publications = yield* Queue.unbounded<unknown>()
    peer.socket.on("message", (data: Buffer) => {
      for (const line of data.toString().split("\n")) {
        const document = JSON.parse(line) as Document
        if (document.id !== undefined) replies.unsafeOffer(document)
        else if (document.push?.pub !== undefined) publications.unsafeOffer(document.push.pub.data)
        else if (line === "{}") peer.socket.send("{}")
      }
    })
    let id = 0
    return {
      ...peer,
      command: (command) =>
        Effect.suspend(() => Effect.zipRight(peer.send(JSON.stringify({ ...command, id: ++id })), Queue.take(replies))),
      publication: Queue.take(publications)
    }
  })

/** A client that is subscribed to a channel. */
export const join = (server: Server, channel: string, options: ClientOptions = {}) =>
  Effect.gen(function*() {
    const joined = yield* client(server, options)
    for (const command of [{ connect: {} }, { subscribe: { channel } }]) {
      const { error } = yield* joined.command(command)
      if (error !== undefined) return yield* Effect.dieMessage(`${JSON.stringify(command)}: ${error.message}`)
    }
    return joined
  })

/** Publishes one thing after another, and fails unless each comes back next. */
export const say = (client: Client, channel: string, messages: ReadonlyArray<unknown>): Effect.Effect<void> =>
  Effect.forEach(
    messages,
    (data) =>
      Effect.flatMap(
        Effect.zipRight(client.command({ publish: { channel, data } }), client.publication),
        (heard) =>
          JSON.stringify(heard) === JSON.stringify(data)
            ? Effect.void
            : Effect.dieMessage(`Said ${JSON.stringify(data)}, heard ${JSON.stringify(heard)}`)
      ),
    { discard: true }
  )
