/** The way to a plain socket past Node's stream: what goes it, what must not, and that nothing is lost or out of order. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import { assert, describe, it } from "@effect/vitest"
import { Hub } from "effect-ws-hub"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs"
import * as Https from "node:https"
import * as Net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { SocketStream } from "../../src/node/SocketStream.js"
import { certificate, isOpensslInstalled } from "../certificate.js"
import {
  connect,
  echo,
  eventually,
  eventuallyEffect,
  opcode,
  portOf,
  rawOpen,
  type RawPeer,
  serve,
  type Server,
  undelivered
} from "./support.js"

const randomBytes = (size: number): Uint8Array => crypto.getRandomValues(new Uint8Array(size))

/** Two ends of one TCP connection, and nothing else that uses them. */
const pair = Effect.acquireRelease(
  Effect.async<{ readonly near: Net.Socket; readonly far: Net.Socket; readonly server: Net.Server }>((resume) => {
    const server = Net.createServer().listen(0, "127.0.0.1", () => {
      const far = Net.connect(portOf(server), "127.0.0.1")
      server.once("connection", (near) => resume(Effect.succeed({ near, far, server })))
    })
  }),
  ({ far, near, server }) =>
    Effect.sync(() => {
      near.destroy()
      far.destroy()
      server.close()
    })
)

/** What arrives at a socket that was paused, until it is so many bytes. */
const hear = (socket: Net.Socket) => {
  const chunks: Array<Buffer> = []
  let length = 0
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk)
    length += chunk.length
  }).resume()
  return (size: number) => Effect.map(eventually(() => length >= size), () => Buffer.concat(chunks))
}

/** As the system knows it. */
const descriptorOf = (socket: Net.Socket): number => {
  const handle: unknown = Reflect.get(socket, "_handle")
  return Number(typeof handle === "object" && handle !== null && Reflect.get(handle, "fd"))
}

describe("a plain socket", () => {
  it.scopedLive("is written to past its stream", () =>
    Effect.gen(function*() {
      const server = yield* serve(echo)
      const sockets: Array<Net.Socket> = []
      server.http?.on("connection", (socket: Net.Socket) => sockets.push(socket))
      const peers = yield* Effect.replicateEffect(connect(server.url("/echo")), 2)
      const written = sockets.map(({ bytesWritten }) => bytesWritten)
      const large = "x".repeat(1000)
      for (const peer of peers) assert.strictEqual(yield* peer.ask(large), large)
      yield* server.hub.broadcast(large)
      for (const peer of peers) assert.strictEqual(yield* peer.next, large)
      assert.strictEqual(written.length, 2)
      assert.deepStrictEqual(sockets.map(({ bytesWritten }) => bytesWritten), written)
    }))

  it.scopedLive("that is full gets the rest by its stream: every byte, once and in order", () =>
    Effect.gen(function*() {
      const { far, near } = yield* pair
      far.pause()
      const stream = new SocketStream(near)
      const sent: Array<Uint8Array> = []
      const write = (size: number) => {
        const bytes = randomBytes(size)
        sent.push(bytes)
        return stream.ready().write(bytes)
      }
      // What the kernel takes, then what it takes a part of, then what the stream holds.
      while (write(30_000)) assert.isBelow(sent.length, 10_000)
      assert.isAbove(near.writableLength, 0)
      write(10)
      const whole = () => Buffer.concat(sent)
      const heard = hear(far)
      yield* heard(whole().length)
      write(20)
      assert.isTrue((yield* heard(whole().length)).equals(whole()))
    }))

  it.scopedLive("that takes nothing loses nothing", () =>
    Effect.gen(function*() {
      const { far, near } = yield* pair
      far.pause()
      const fd = descriptorOf(near)
      let filled = 0
      const fill = () => {
        const before = filled
        assert.throws(() => {
          for (;;) filled += writeSync(fd, Buffer.alloc(4096))
        }, /EAGAIN/)
        return filled - before
      }
      // What is acknowledged in between makes room once more: until that is over, and nothing comes in between.
      for (let full = 0; full < 10; full++) {
        if (fill() > 0) full = 0
        yield* eventually(() => true)
      }
      fill()
      assert.strictEqual(near.writableLength, 0)
      new SocketStream(near).ready().write(Buffer.from("the rest"))
      assert.strictEqual(near.writableLength, 8)
      const bytes = yield* hear(far)(filled + 8)
      assert.strictEqual(bytes.subarray(filled).toString(), "the rest")
    }))

  it.scopedLive("whose stream holds something is not overtaken, though the kernel has room again", () =>
    Effect.gen(function*() {
      const { far, near } = yield* pair
      far.pause()
      const stream = new SocketStream(near)
      const sent: Array<Uint8Array> = []
      const write = (bytes: Uint8Array) => {
        sent.push(bytes)
        stream.ready().write(bytes)
      }
      while (near.writableLength < 4 * 65_536) write(randomBytes(65_536))
      // Between what the peer has read and what the stream then writes.
      let between = 0
      far.on("data", () => {
        if (near.writableLength === 0) return
        between++
        write(Buffer.from(`#${between}`))
      })
      const heard = hear(far)
      yield* eventually(() => near.writableLength === 0)
      assert.isAbove(between, 0)
      const whole = Buffer.concat(sent)
      assert.isTrue((yield* heard(whole.length)).equals(whole))
    }))

  it.scopedLive("that was closed is not written to: its descriptor may be another file's", () =>
    Effect.gen(function*() {
      const { near } = yield* pair
      near.on("error", () => {})
      const stream = new SocketStream(near)
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "hub-direct-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
      )
      const ready = stream.ready()
      near.destroy()
      // Enough that one of them has the descriptor that the socket had.
      const files = Array.from({ length: 20 }, (_, index) => join(folder, `${index}`))
      const open = files.map((file) => openSync(file, "w"))
      ready.write(Buffer.from("not for a file"))
      stream.ready().write(Buffer.from("nor this"))
      for (const file of open) closeSync(file)
      assert.deepStrictEqual(files.map((file) => readFileSync(file, "utf8")), files.map(() => ""))
    }))

  it.scopedLive("that the peer reset says so by its stream", () =>
    Effect.gen(function*() {
      const { far, near } = yield* pair
      const stream = new SocketStream(near)
      const error = Effect.async<NodeJS.ErrnoException>((resume) => {
        near.once("error", (error) => resume(Effect.succeed(error)))
      })
      far.resetAndDestroy()
      // Looks at the socket before its own event tells of it.
      const writes = Effect.iterate(0, {
        while: (count) => count < 1000 && !near.destroyed,
        body: (count) =>
          Effect.sync(() => {
            stream.ready().write(Buffer.from("x"))
            return count + 1
          })
      })
      const [{ code = "" }] = yield* Effect.all([error, writes], { concurrency: 2 })
      assert.include(["EPIPE", "ECONNRESET"], code)
    }))
})

describe("what a socket holds when it breaks is counted as undelivered", () => {
  /** Sends to a peer that does not read, until the socket keeps some of it. Returns how many frames that were. */
  const fill = (server: Server, socket: () => Net.Socket | undefined, message: Uint8Array) =>
    Effect.gen(function*() {
      const isHeld = Effect.gen(function*() {
        yield* Effect.replicateEffect(eventually(() => true), 10)
        return (socket()?.writableLength ?? 0) > 0
      })
      for (let count = 0;; count++) {
        if (yield* isHeld) return count
        assert.strictEqual(yield* server.hub.broadcast(message), 1)
      }
    })

  /** A peer that does not read, and what the server knows of it. */
  const filled = (size: number) =>
    Effect.gen(function*() {
      const server = yield* serve(echo, { hub: { closeGrace: 50, outboxBytes: 64 * 1024 * 1024 } })
      const sockets: Array<Net.Socket> = []
      server.http?.on("connection", (socket: Net.Socket) => sockets.push(socket))
      const peer = yield* rawOpen(server, "/echo")
      peer.socket.pause()
      const count = yield* fill(server, () => sockets[0], randomBytes(size))
      return { server, peer, count }
    })

  const texts = (peer: RawPeer): number => peer.frames.filter((frame) => frame.opcode === opcode.binary).length

  it.scopedLive("by a peer that resets", () =>
    Effect.gen(function*() {
      const before = yield* undelivered
      const { peer, server } = yield* filled(60_000)
      yield* peer.reset
      yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 0))
      // All others were with the kernel before this one was sent.
      assert.strictEqual((yield* undelivered) - before, 1)
    }))

  for (const size of [100, 5000, 60_000]) {
    it.scopedLive(`by a server that gives up: the others arrive, frame by frame (${size} bytes)`, () =>
      Effect.gen(function*() {
        const before = yield* undelivered
        const { count, peer, server } = yield* filled(60_000)
        const more = Math.ceil(200_000 / size)
        for (let n = 0; n < more; n++) yield* server.hub.broadcast(randomBytes(size))
        yield* server.hub.closeAll()
        yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 0))
        peer.socket.resume()
        yield* eventually(() => peer.socket.readableEnded || peer.gone)
        assert.strictEqual(texts(peer) + (yield* undelivered) - before, count + more)
        assert.isAbove(yield* undelivered, before)
      }))
  }
})

describe("any other socket is written to by its stream", () => {
  it.scopedLive.skipIf(!isOpensslInstalled)("with TLS", () =>
    Effect.gen(function*() {
      const { cert, key } = yield* certificate
      const https = Https.createServer({ cert: readFileSync(cert), key: readFileSync(key) })
      yield* Layer.build(
        HttpLayerRouter.serve(echo, { disableLogger: true, disableListenLog: true }).pipe(
          Layer.provide(Hub.layer()),
          Layer.provide(NodeHttpServer.layer(() => https, { host: "127.0.0.1", port: 0 }))
        )
      )
      const peer = yield* connect(`wss://127.0.0.1:${portOf(https)}/echo`, { ca: readFileSync(cert) })
      assert.strictEqual(yield* peer.ask("a secret"), "a secret")
      assert.deepStrictEqual(yield* peer.ask(new Uint8Array([1, 2, 3])), new Uint8Array([1, 2, 3]))
    }))

  it.scopedLive("with a write of its own, or a class of its own", () =>
    Effect.gen(function*() {
      const { near } = yield* pair
      const isPassed = (): boolean => {
        const before = near.bytesWritten
        new SocketStream(near).ready().write(Buffer.from("hello"))
        return near.bytesWritten === before
      }
      assert.isTrue(isPassed())
      class Counted extends Net.Socket {}
      Object.setPrototypeOf(near, Counted.prototype)
      assert.isFalse(isPassed())
      Object.setPrototypeOf(near, Net.Socket.prototype)
      assert.isTrue(isPassed())
      Object.assign(near, { write: near.write.bind(near) })
      assert.isFalse(isPassed())
    }))

  it.scopedLive("a message passes a write that the application has put there", () =>
    Effect.gen(function*() {
      const server = yield* serve(echo)
      let count = 0
      server.http?.on("connection", (socket: Net.Socket) => {
        const write = socket.write.bind(socket)
        Object.assign(socket, {
          write: (...args: Parameters<typeof write>) => {
            count++
            return write(...args)
          }
        })
      })
      const peer = yield* rawOpen(server, "/echo")
      const before = count
      yield* server.hub.broadcast("hello")
      yield* eventually(() => peer.frames.length === 1)
      assert.strictEqual(count, before + 1)
    }))
})
