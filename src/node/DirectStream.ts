/**
 * The stream of a plain socket, past what Node does for each write.
 *
 * @since 1.0.0
 */
import { writeSync } from "node:fs"
import { Socket } from "node:net"
import type { Duplex } from "node:stream"
import type { ByteStream } from "../core/Transport.js"

/** What Node keeps under a socket. Its `fd` is negative once the socket is closed, and always on Windows. */
interface Handle {
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

/**
 * Gives the kernel what it takes at once, by the socket's file descriptor, and the rest to the socket. A tenth of what a
 * small write costs is Node's stream, its request and its callback, which nobody needs when everything is taken. The
 * descriptor is not documented, so whatever has none, or is not a plain socket, is written to as ever. `bytesWritten` of
 * the socket does not count what went this way.
 *
 * @internal
 */
export class DirectStream implements ByteStream {
  private readonly socket: Duplex
  private readonly handle: Handle
  private isReady = false

  private constructor(socket: Duplex, handle: Handle) {
    this.socket = socket
    this.handle = handle
  }

  /** Of this socket, if it is one for which there is another way. */
  static of(socket: Duplex): DirectStream | undefined {
    const handle = handleOf(socket)
    return handle && new DirectStream(socket, handle)
  }

  /** For one write, before anything else is written: what the socket holds must not be overtaken. */
  ready(): ByteStream {
    if (this.socket.writableLength > 0) return this.socket
    this.isReady = true
    return this
  }

  get writableLength(): number {
    return this.socket.writableLength
  }

  write(bytes: Uint8Array): boolean {
    const taken = this.take(bytes)
    return taken === bytes.length || this.socket.write(taken === 0 ? bytes : bytes.subarray(taken))
  }

  /** How many bytes the kernel took. */
  private take(bytes: Uint8Array): number {
    // Asked for at the last moment: that of a socket that was closed since may be another file's.
    const { fd } = this.handle
    if (!this.isReady || fd < 0) return 0
    this.isReady = false
    try {
      return writeSync(fd, bytes)
    } catch {
      // It is full, or broken: the socket will say so.
      return 0
    }
  }
}
