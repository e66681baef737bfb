/**
 * The stream of a socket: past what Node does for each write, where there is a way, and with a count of what is lost.
 *
 * @since 1.0.0
 */
import { writeSync } from "node:fs"
import { Socket } from "node:net"
import type { Duplex } from "node:stream"
import * as HubMetrics from "../core/HubMetrics.js"
import type { ByteStream } from "../core/Transport.js"

/** What Node keeps under a socket. */
interface Handle {
  /** Negative once the socket is closed, and always on Windows. */
  readonly fd: number
}

const isHandle = (value: unknown): value is Handle =>
  typeof value === "object" && value !== null && "fd" in value && typeof value.fd === "number"

/** Of a socket whose bytes go out as they are: nothing that encrypts them, counts them, or writes in another way. */
const handleOf = (socket: Duplex): Handle | undefined =>
  Object.getPrototypeOf(socket) === Socket.prototype && !Object.hasOwn(socket, "write") &&
    "_handle" in socket && isHandle(socket._handle) && socket._handle.fd >= 0
    ? socket._handle
    : undefined

/** The size of the server's frame that begins here. */
const frameSize = (bytes: Uint8Array, at: number): number => {
  const length = bytes[at + 1] ?? 0
  if (length < 126) return 2 + length
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return length === 126 ? 4 + view.getUint16(at + 2) : 10 + Number(view.getBigUint64(at + 2))
}

/** How many frames end behind the first so many bytes. */
const framesBehind = (bytes: Uint8Array, taken: number): number => {
  let count = 0
  for (let end = 0; end < bytes.length;) {
    end += frameSize(bytes, end)
    if (end > taken) count++
  }
  return count
}

/**
 * Gives the kernel what it takes at once, by the socket's file descriptor, and the rest to the socket. A tenth of what a
 * small write costs is Node's stream, its request and its callback, which nobody needs when everything is taken. The
 * descriptor is not documented, so whatever has none, or is not a plain socket, is written to as ever. `bytesWritten` of
 * the socket does not count what went this way.
 *
 * @internal
 */
export class SocketStream implements ByteStream {
  private readonly socket: Duplex
  private readonly handle: Handle | undefined
  private isReady = false

  constructor(socket: Duplex) {
    this.socket = socket
    this.handle = handleOf(socket)
  }

  /** For one write, before anything else is written: what the socket holds must not be overtaken. */
  ready(): ByteStream {
    this.isReady = this.socket.writableLength === 0
    return this
  }

  get writableLength(): number {
    return this.socket.writableLength
  }

  /** Writes whole frames. */
  write(bytes: Uint8Array): boolean {
    const taken = this.take(bytes)
    return taken === bytes.length || this.pass(bytes, taken)
  }

  /** How many bytes the kernel took. */
  private take(bytes: Uint8Array): number {
    // Asked for at the last moment: that of a socket that was closed since may be another file's.
    const fd = this.handle?.fd ?? -1
    if (!this.isReady || fd < 0) return 0
    this.isReady = false
    try {
      return writeSync(fd, bytes)
    } catch {
      // It is full, or broken: the socket will say so.
      return 0
    }
  }

  /**
   * Gives the socket what the kernel did not take. Frames of it count as lost if the socket is destroyed meanwhile, though
   * the kernel may have taken some of them: a write is done as a whole, and seldom more than 64 KiB.
   */
  private pass(bytes: Uint8Array, taken: number): boolean {
    return this.socket.write(taken === 0 ? bytes : bytes.subarray(taken), (error) => {
      // Of a write that was under way when the socket was destroyed Node says that it is done.
      if (!error && !this.socket.destroyed) return
      HubMetrics.undelivered("out").unsafeUpdate(framesBehind(bytes, taken), [])
    })
  }
}
