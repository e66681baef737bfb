/** What the tests of this floor share: servers on a free port, peers over real sockets, and waiting for a fact. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import { type Connection, Hub, type HubConfig, HubMetrics, NodeGuard, NodeUpgrade } from "effect-ws-hub"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { readdirSync, readlinkSync } from "node:fs"
import * as Http from "node:http"
import * as Net from "node:net"
import { fileURLToPath } from "node:url"
import { type ClientOptions, WebSocket } from "ws"
import { whole } from "../bundle.js"
import { Facts, type FixtureOptions } from "./fixtures/protocol.js"
import { type Heap, readHeap } from "./heap.js"

// --- waiting

/** Looks every millisecond, for what has no event to wait for. The test's own timeout is the limit. */
export const eventually = (holds: () => boolean): Effect.Effect<void> =>
  Effect.async((resume) => {
    let handle = setTimeout(function look() {
      if (holds()) resume(Effect.void)
      else handle = setTimeout(look, 1)
    }, 0)
    return Effect.sync(() => clearTimeout(handle))
  })

/** As `eventually`, for a fact that an effect tells. */
export const eventuallyEffect = <R>(holds: Effect.Effect<boolean, never, R>): Effect.Effect<void, never, R> =>
  Effect.asVoid(Effect.repeat(Effect.zipLeft(holds, eventually(() => true)), { until: (done) => done }))

/** Sockets that this process has open. */
export const openSockets = (): number => {
  let count = 0
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:")) count++
    } catch {
      // It was closed since the directory was read.
    }
  }
  return count
}

// --- what is counted

const reasons = [
  "malformed",
  "origin",
  "subprotocol",
  "unauthorized",
  "timeout",
  "failed",
  "full",
  "unavailable",
  "not-mounted"
]

/** Handshakes refused while the effect runs, by reason. */
export const refusals = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Record<string, number>, E, R> =>
  Effect.gen(function*() {
    const counts = Effect.forEach(reasons, (reason) => Metric.value(HubMetrics.refusals(reason)))
    const before = yield* counts
    yield* effect
    const after = yield* counts
    return Object.fromEntries(reasons.flatMap((reason, at) => {
      const change = (after[at]?.count ?? 0) - (before[at]?.count ?? 0)
      return change === 0 ? [] : [[reason, change]]
    }))
  })

/** Frames that the end of their connections has left unsent up to now. */
export const undelivered: Effect.Effect<number> = Effect.map(
  Metric.value(HubMetrics.undelivered("out")),
  ({ count }) => count
)

// --- a server

export interface Server {
  readonly hub: Hub.Hub["Type"]
  /** Node's server, where one can get at it. */
  readonly http: Http.Server | undefined
  readonly port: number
  readonly url: (path: string) => string
}

/** The port of a server that listens. */
export const portOf = (server: Net.Server): number => {
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("The server does not listen on a port.")
  return address.port
}

export const serverOf = (hub: Hub.Hub["Type"], http: Http.Server, host = "127.0.0.1"): Server => ({
  ...serverAt(hub, portOf(http), host),
  http
})

const serverAt = (hub: Hub.Hub["Type"], port: number, host: string): Server => {
  return { http: undefined, hub, port, url: (path) => `ws://${Net.isIPv6(host) ? `[${host}]` : host}:${port}${path}` }
}

export interface ServeOptions {
  readonly hub?: HubConfig.HubOptions | undefined
  readonly host?: string | undefined
  /** An ordinary server of Node instead of the guarded one. */
  readonly plain?: boolean | undefined
  readonly guard?: NodeGuard.Options | undefined
}

/** Serves an application's layer on a free port, together with a hub. */
export const serveLayer = <E>(
  app: Layer.Layer<never, E, Hub.Hub | HttpServer.HttpServer>,
  options: ServeOptions = {}
) =>
  Effect.gen(function*() {
    const { host = "127.0.0.1" } = options
    const http = options.plain === true ? Http.createServer() : NodeGuard.createServer(options.guard)
    const context = yield* Layer.build(app.pipe(
      Layer.provideMerge(Hub.layer(options.hub)),
      Layer.provide(NodeHttpServer.layer(() => http, { host, port: 0 }))
    ))
    return serverOf(Context.get(context, Hub.Hub), http, host)
  })

/** Serves the routes of an `HttpLayerRouter`. */
export const serve = <E>(
  routes: Layer.Layer<never, E, Hub.Hub | HttpLayerRouter.HttpRouter>,
  options: ServeOptions = {}
) => serveLayer(HttpLayerRouter.serve(routes, { disableLogger: true, disableListenLog: true }), options)

/** Serves mounts straight at the guarded server. */
export const serveGuard = <E>(
  mounts: Layer.Layer<never, E, Hub.Hub | NodeGuard.Guard | HttpServer.HttpServer>,
  { guard, host = "127.0.0.1", hub }: ServeOptions = {}
) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(mounts.pipe(
      Layer.provideMerge(Hub.layer(hub)),
      Layer.provideMerge(NodeGuard.layer({ ...guard, host, port: 0 }))
    ))
    const { address } = Context.get(context, HttpServer.HttpServer)
    if (address._tag !== "TcpAddress") return yield* Effect.dieMessage("The server does not listen on a port.")
    return serverAt(Context.get(context, Hub.Hub), address.port, host)
  })

/** Whether the server has so many TCP connections, upgraded or not, as far as one can ask it. */
export const holds = (server: Server, count: number): Effect.Effect<boolean> =>
  Effect.async((resume) => {
    if (server.http === undefined) return resume(Effect.succeed(true))
    server.http.getConnections((_error, connections) => resume(Effect.succeed(connections === count)))
  })

/** Reads and does nothing. */
export const idle = (connection: Connection): Effect.Effect<void> => connection.runForEach(() => Effect.void)

/** Sends every message back. */
export const echo = NodeUpgrade.layer("/echo", {
  handler: (connection) => connection.runForEach((message) => connection.send(message))
})

/** Sends every message to everyone who is connected. */
export const everyone = Layer.unwrapEffect(Effect.map(Hub.Hub, (hub) =>
  NodeUpgrade.layer("/all", {
    origins: "any",
    handler: (connection) => connection.runForEach((message) => hub.broadcast(message))
  })))

// --- a peer

/** An HTTP answer in place of 101. */
export class Answer extends Data.TaggedError("Answer")<{
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
  readonly body: string
}> {}

export interface End {
  readonly code: number
  readonly reason: string
}

type Received =
  | { readonly _tag: "Message"; readonly message: string | Uint8Array }
  | { readonly _tag: "End"; readonly end: End }

const bytesOf = (data: Buffer | ArrayBuffer | Array<Buffer>): Buffer =>
  Buffer.isBuffer(data) ? data : Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)

/** A client of `ws`. */
export class Peer {
  readonly ws: WebSocket
  /** How it ended. */
  readonly closed: Effect.Effect<End>
  private readonly received = Effect.runSync(Queue.unbounded<Received>())

  constructor(ws: WebSocket) {
    this.ws = ws
    const closed = Deferred.unsafeMake<End>(Effect.runSync(Effect.fiberId))
    this.closed = Deferred.await(closed)
    ws.on("message", (data, binary) => {
      const bytes = bytesOf(data)
      this.received.unsafeOffer({ _tag: "Message", message: binary ? new Uint8Array(bytes) : bytes.toString() })
    })
    ws.on("close", (code, reason) => {
      const end = { code, reason: reason.toString() }
      this.received.unsafeOffer({ _tag: "End", end })
      Deferred.unsafeDone(closed, Effect.succeed(end))
    })
    ws.on("error", () => {})
  }

  /** The next message; a defect if the connection ends instead. */
  get next(): Effect.Effect<string | Uint8Array> {
    return Effect.flatMap(Queue.take(this.received), (received) =>
      received._tag === "Message"
        ? Effect.succeed(received.message)
        : Effect.dieMessage(`ended with ${received.end.code} ${received.end.reason} instead of a message`))
  }

  take(count: number): Effect.Effect<ReadonlyArray<string | Uint8Array>> {
    return Effect.replicateEffect(this.next, count)
  }

  /** What arrives until the connection ends. */
  get rest(): Effect.Effect<ReadonlyArray<string | Uint8Array>> {
    return Effect.map(
      Effect.zipRight(this.closed, Queue.takeAll(this.received)),
      (all) => Array.from(all).flatMap((received) => received._tag === "Message" ? [received.message] : [])
    )
  }

  send(message: string | Uint8Array): Effect.Effect<void> {
    return Effect.sync(() => this.ws.send(message))
  }

  /** Sends and waits for one answer. */
  ask(message: string | Uint8Array): Effect.Effect<string | Uint8Array> {
    return Effect.zipRight(this.send(message), this.next)
  }

  close(code = 1000): Effect.Effect<End> {
    return Effect.suspend(() => {
      this.ws.close(code)
      return this.closed
    })
  }
}

export type ConnectOptions = ClientOptions & { readonly protocols?: Array<string> | undefined }

const begin = (url: string, { protocols = [], ...options }: ConnectOptions): Effect.Effect<Peer, Answer> =>
  Effect.async((resume) => {
    const ws = new WebSocket(url, protocols, { perMessageDeflate: false, ...options })
    const peer = new Peer(ws)
    ws.once("open", () => resume(Effect.succeed(peer)))
    ws.on("unexpected-response", (_request, response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("close", () => {
        const { headers, statusCode: status = 0 } = response
        resume(Effect.fail(new Answer({ status, headers, body: Buffer.concat(chunks).toString() })))
      })
    })
    ws.once("close", (code) => resume(Effect.dieMessage(`no handshake: closed with ${code}`)))
    ws.once("error", (error) => resume(Effect.die(error)))
    return Effect.sync(() => ws.terminate())
  })

/** Connects; fails with the answer if the handshake is refused. */
export const connect = (url: string, options: ConnectOptions = {}): Effect.Effect<Peer, Answer, Scope.Scope> =>
  Effect.acquireRelease(Effect.interruptible(begin(url, options)), (peer) => Effect.sync(() => peer.ws.terminate()))

/** The answer to a handshake that is refused; a defect if it is accepted. */
export const refused = (url: string, options: ConnectOptions = {}): Effect.Effect<Answer> =>
  Effect.scoped(Effect.flip(connect(url, options))).pipe(Effect.catchAll(() => Effect.dieMessage("was accepted")))

/** An ordinary HTTP request. */
export const request = (
  url: string,
  options: Http.RequestOptions = {}
): Effect.Effect<Answer> =>
  Effect.async((resume) => {
    const request = Http.request(url.replace(/^ws/, "http"), { agent: false, ...options }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("end", () => {
        const { headers, statusCode: status = 0 } = response
        resume(Effect.succeed(new Answer({ status, headers, body: Buffer.concat(chunks).toString() })))
      })
    })
    request.on("error", (error) => resume(Effect.die(error)))
    request.end()
  })

// --- a peer that does as it likes

/** The text of a handshake. `undefined` leaves a header out. */
export const handshake = (path: string, headers: Record<string, string | undefined> = {}): string =>
  `GET ${path} HTTP/1.1\r\n` + Object.entries({
    "Host": "127.0.0.1",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers
  }).map(([name, value]) => value === undefined ? "" : `${name}: ${value}\r\n`).join("") + "\r\n"

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 }

/** A client's frame: masked (with zeros, which leave the payload as it is) and final unless told otherwise. */
export const frame = (
  code: number,
  payload: string | Uint8Array = "",
  { fin = true, length, masked = true, rsv = 0 }: {
    readonly fin?: boolean
    readonly masked?: boolean
    readonly rsv?: number
    /** The length that the header says. */
    readonly length?: number
  } = {}
): Buffer => {
  const bytes = Buffer.from(payload)
  const size = length ?? bytes.length
  const mask = masked ? 0x80 : 0
  const header = Buffer.alloc(size < 126 ? 2 : size < 65536 ? 4 : 10)
  header[0] = (fin ? 0x80 : 0) | rsv << 4 | code
  if (size < 126) header[1] = mask | size
  else if (size < 65536) {
    header[1] = mask | 126
    header.writeUInt16BE(size, 2)
  } else {
    header[1] = mask | 127
    header.writeBigUInt64BE(BigInt(size), 2)
  }
  return Buffer.concat([header, Buffer.alloc(masked ? 4 : 0), bytes])
}

/** The payload of a close frame. */
export const closePayload = (code: number, reason: string | Uint8Array = ""): Buffer => {
  const bytes = Buffer.from(reason)
  const payload = Buffer.alloc(2 + bytes.length)
  payload.writeUInt16BE(code)
  bytes.copy(payload, 2)
  return payload
}

interface ServerFrame {
  readonly opcode: number
  readonly payload: Buffer
}

/** The whole frames in what a server has sent. */
const parse = (bytes: Buffer): ReadonlyArray<ServerFrame> => {
  const frames: Array<ServerFrame> = []
  let at = 0
  while (bytes.length - at >= 2) {
    const short = bytes.readUInt8(at + 1) & 0x7f
    const header = short < 126 ? 2 : short === 126 ? 4 : 10
    if (bytes.length - at < header) break
    const size = short < 126
      ? short
      : short === 126
      ? bytes.readUInt16BE(at + 2)
      : Number(bytes.readBigUInt64BE(at + 2))
    if (bytes.length - at < header + size) break
    frames.push({ opcode: bytes.readUInt8(at) & 0x0f, payload: bytes.subarray(at + header, at + header + size) })
    at += header + size
  }
  return frames
}

/** A bare TCP client. */
export class RawPeer {
  readonly socket: Net.Socket
  received = Buffer.alloc(0)
  /** Whether the connection is over, on the server's side too as far as one can see from here. */
  gone = false

  constructor(socket: Net.Socket) {
    this.socket = socket
    socket.on("data", (chunk) => {
      this.received = Buffer.concat([this.received, chunk])
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      this.gone = true
    })
  }

  send(data: string | Uint8Array): Effect.Effect<void> {
    return Effect.sync(() => {
      this.socket.write(data)
    })
  }

  /** Ends the connection with RST. */
  get reset(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.socket.resetAndDestroy()
    })
  }

  get closed(): Effect.Effect<void> {
    return this.until(() => this.gone)
  }

  /** Waits for a fact about what has arrived here. */
  until(holds: () => boolean): Effect.Effect<void> {
    return Effect.async((resume) => {
      const stop = () => {
        this.socket.off("data", look).off("close", look)
      }
      const look = () => {
        if (!holds()) return
        stop()
        resume(Effect.void)
      }
      this.socket.on("data", look).on("close", look)
      look()
      return Effect.sync(stop)
    })
  }

  get text(): string {
    return this.received.toString("latin1")
  }

  get status(): number {
    return Number(/^HTTP\/1.1 (\d+)/.exec(this.text)?.[1])
  }

  /** Whether the head of the HTTP answer is there. */
  get answered(): Effect.Effect<void> {
    return this.until(() => this.text.includes("\r\n\r\n"))
  }

  /** What the server sent after the head of its answer, as text. */
  get body(): string {
    return this.text.slice(this.text.indexOf("\r\n\r\n") + 4)
  }

  /** What the server sent after the head of its answer. */
  get frames(): ReadonlyArray<ServerFrame> {
    return parse(this.received.subarray(this.received.indexOf("\r\n\r\n") + 4))
  }

  /** The code of the server's close frame. */
  get closeCode(): number | undefined {
    const close = this.frames.find((frame) => frame.opcode === opcode.close)
    return close === undefined || close.payload.length < 2 ? undefined : close.payload.readUInt16BE()
  }
}

/** Opens a TCP connection. Half-open is allowed: the end of the server's side does not end this one. */
export const raw = (port: number): Effect.Effect<RawPeer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<RawPeer>((resume) => {
      const socket = Net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
      const peer = new RawPeer(socket)
      socket.once("connect", () => resume(Effect.succeed(peer)))
      socket.once("error", (error) => resume(Effect.die(error)))
    }),
    (peer) => Effect.sync(() => peer.socket.destroy())
  )

/** Opens a TCP connection and a WebSocket on it. */
export const rawOpen = (server: { readonly port: number }, path: string): Effect.Effect<RawPeer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const peer = yield* raw(server.port)
    yield* peer.send(handshake(path))
    yield* peer.answered
    if (peer.status !== 101) return yield* Effect.dieMessage(`expected 101, got ${peer.text}`)
    return peer
  })

// --- a server in a process of its own

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export class Child {
  readonly process: ChildProcess
  output = ""
  private end: Exit | undefined = undefined

  constructor(process: ChildProcess) {
    this.process = process
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text
      })
    }
    process.on("exit", (code, signal) => {
      this.end = { code, signal }
    })
  }

  get port(): number {
    return Number(/^ready (\d+)$/m.exec(this.output)?.[1])
  }

  url(path: string): string {
    return `ws://127.0.0.1:${this.port}${path}`
  }

  /** Waits for the process to say it. */
  says(text: string | RegExp): Effect.Effect<void> {
    const said = () => typeof text === "string" ? this.output.includes(text) : text.test(this.output)
    return Effect.flatMap(
      eventually(() => said() || this.end !== undefined),
      () => said() ? Effect.void : Effect.dieMessage(`exited with ${JSON.stringify(this.end)}: ${this.output}`)
    )
  }

  /** Waits for the process to say a word for the nth time. */
  saysTimes(word: string, times: number): Effect.Effect<void> {
    return this.says(new RegExp(`(^${word}$[^]*){${times}}`, "m"))
  }

  kill(signal: NodeJS.Signals): Effect.Effect<void> {
    return Effect.sync(() => {
      this.process.kill(signal)
    })
  }

  get exit(): Effect.Effect<Exit> {
    return Effect.zipRight(
      eventually(() => this.end !== undefined),
      Effect.suspend(() => this.end === undefined ? Effect.dieMessage("has not exited") : Effect.succeed(this.end))
    )
  }

  get facts(): Effect.Effect<Facts> {
    return this.factsAt("/facts")
  }

  factsAt(path: "/facts" | "/gc"): Effect.Effect<Facts> {
    return Effect.orDie(Effect.flatMap(request(this.url(path)), ({ body }) => decodeFacts(body)))
  }

  /** What is on its heap. */
  get heap(): Effect.Effect<Heap> {
    return Effect.map(request(this.url("/heap")), ({ body }) => readHeap(body))
  }
}

const decodeFacts = Schema.decode(Schema.parseJson(Facts))

/** Where its bundle is, once it was needed. */
let fixture: string | undefined

const bundled = (): ReadonlyArray<string> => [fixture ??= whole("test/node/fixtures/server.ts")]

/** For whoever counts what is on its heap: large literals that are bundled come to it when V8 forgets their code. */
export const unbundled = (): ReadonlyArray<string> => [
  "--import",
  "tsx",
  "--conditions=@effect-ws-hub/source",
  fileURLToPath(new URL("./fixtures/server.ts", import.meta.url))
]

/** Starts `fixtures/server.ts`, and ends it with the scope. */
export const spawnServer = (
  options: FixtureOptions,
  program: () => ReadonlyArray<string> = bundled
): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const args = ["--expose-gc", ...program(), JSON.stringify(options)]
      return new Child(spawn(process.execPath, args, { stdio: "pipe" }))
    }),
    (child) => Effect.zipRight(child.kill("SIGKILL"), child.exit)
  ).pipe(Effect.tap((child) => child.says(/^ready \d+$/m)))
