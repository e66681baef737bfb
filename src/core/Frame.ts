/**
 * An outbound message, encoded once and shared by every connection that gets it.
 *
 * @since 1.0.0
 */

import type { OverflowPolicy } from "./HubConfig.js"

/**
 * What travels over a connection: text, or bytes.
 *
 * @since 1.0.0
 * @category models
 */
export type Message = string | Uint8Array

/**
 * A message in its wire form: one unmasked, unfragmented server frame (RFC 6455 §5.2), header and payload in one
 * piece of memory that is never written to again.
 *
 * Build it once with {@link make} when the same message goes out more than once; `send`, `publish` and `broadcast`
 * take a `Frame` wherever they take a message.
 *
 * @since 1.0.0
 * @category models
 */
export class Frame {
  /** Whether the payload is binary (opcode 2) rather than text (opcode 1). */
  readonly binary: boolean
  private wire: Uint8Array
  /** Identifies what the message is about, so that the `conflate` policy can replace an older one. */
  readonly key: string | undefined
  /** What becomes of it when an outbox is full, if not what the hub's options say. */
  readonly overflow: OverflowPolicy | undefined

  constructor(
    binary: boolean,
    bytes: Uint8Array,
    key: string | undefined,
    overflow?: OverflowPolicy | undefined
  ) {
    this.binary = binary
    this.wire = bytes
    this.key = key
    this.overflow = overflow
  }

  /** Header and payload. */
  get bytes(): Uint8Array {
    return this.wire
  }

  /** Lets go of the memory shared with other frames, for one that is kept. */
  own(): void {
    if (this.wire.buffer.byteLength > 2 * this.wire.byteLength) this.wire = this.wire.slice()
  }

  /** Size on the wire, in bytes. */
  get size(): number {
    return this.bytes.byteLength
  }

  /** The payload alone: a view, not a copy. */
  get payload(): Uint8Array {
    return this.bytes.subarray(headerSize(this.bytes))
  }
}

const encoder = new TextEncoder()

const headerSize = (bytes: Uint8Array): number => bytes[1] === 127 ? 10 : bytes[1] === 126 ? 4 : 2

/** Writes the header so that it ends at `end`, and returns where it starts. */
const writeHeader = (target: Uint8Array, end: number, binary: boolean, length: number): number => {
  const start = end - (length < 126 ? 2 : length < 65536 ? 4 : 10)
  target[start] = binary ? 0x82 : 0x81
  if (length < 126) target[start + 1] = length
  else if (length < 65536) {
    target[start + 1] = 126
    target[start + 2] = length >>> 8
    target[start + 3] = length
  } else {
    target[start + 1] = 127
    new DataView(target.buffer, target.byteOffset).setBigUint64(start + 2, BigInt(length))
  }
  return start
}

const maxHeader = 10
const slabSize = 16 * 1024
/** Small frames share a slab of memory: an allocation for each costs more than the rest of the encoding. */
let slab = new Uint8Array(slabSize)
let slabUsed = 0

/** Writes a short text if it is ASCII, which is faster by hand than by the encoder. Returns its length. */
const writeAscii = (text: string, target: Uint8Array, from: number): number | undefined => {
  const length = text.length
  if (length > 256) return undefined
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 127) return undefined
    target[from + index] = unit
  }
  return length
}

const encode = (message: Message): Uint8Array => {
  const binary = typeof message !== "string"
  // UTF-8 takes at most three bytes for a UTF-16 unit.
  const most = maxHeader + (binary ? message.byteLength : message.length * 3)
  if (most > slabSize / 4) {
    const payload = binary ? message : encoder.encode(message)
    const bytes = new Uint8Array(maxHeader + payload.byteLength)
    bytes.set(payload, maxHeader)
    return bytes.subarray(writeHeader(bytes, maxHeader, binary, payload.byteLength))
  }
  if (slabUsed + most > slabSize) {
    slab = new Uint8Array(slabSize)
    slabUsed = 0
  }
  const from = slabUsed + maxHeader
  let length: number
  if (binary) {
    slab.set(message, from)
    length = message.byteLength
  } else length = writeAscii(message, slab, from) ?? encoder.encodeInto(message, slab.subarray(from)).written
  const start = writeHeader(slab, from, binary, length)
  slabUsed = from + length
  return slab.subarray(start, slabUsed)
}

/**
 * Encodes a message as a frame. Text becomes UTF-8 (lone surrogates become U+FFFD); bytes are copied, so the caller
 * may reuse its array. `key` says what the message is about, for the `conflate` overflow policy; `overflow` is the policy
 * for this message, instead of the hub's.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = (
  message: Message | Frame,
  options?: { readonly key?: string | undefined; readonly overflow?: OverflowPolicy | undefined }
): Frame => {
  if (!(message instanceof Frame)) {
    return new Frame(typeof message !== "string", encode(message), options?.key, options?.overflow)
  }
  const { key = message.key, overflow = message.overflow } = options ?? {}
  return key === message.key && overflow === message.overflow
    ? message
    : new Frame(message.binary, message.bytes, key, overflow)
}

// eslint-disable-next-line no-restricted-globals -- not used where it is not there
const NodeBuffer = typeof Buffer === "undefined" ? undefined : Buffer

/** Node's streams want a `Buffer`: any other array they wrap again for each socket. */
const native = (bytes: Uint8Array): Uint8Array =>
  NodeBuffer === undefined ? bytes : NodeBuffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/**
 * The frames that a connection was given, in order, as an immutable list that grows at its end.
 *
 * Appending the same frame to the same batch gives the same batch again, so a thousand connections that were given
 * the same frames hold one list, and its joined bytes are made once for all of them.
 *
 * @since 1.0.0
 * @category models
 */
export class Batch {
  /** Frames in the batch. */
  readonly count: number
  /** Bytes in the batch. */
  readonly size: number
  private readonly parent: Batch | undefined
  private readonly frame: Frame | undefined
  private next: Batch | undefined = undefined
  private joined: Uint8Array | undefined = undefined

  private constructor(parent: Batch | undefined, frame: Frame | undefined) {
    this.parent = parent
    this.frame = frame
    this.count = parent === undefined ? 0 : parent.count + 1
    this.size = parent === undefined || frame === undefined ? 0 : parent.size + frame.size
  }

  /** A batch without frames, from which connections start together. */
  static empty(): Batch {
    return new Batch(undefined, undefined)
  }

  append(frame: Frame): Batch {
    const next = this.next
    return next !== undefined && next.frame === frame ? next : (this.next = new Batch(this, frame))
  }

  /** All frames in one piece of memory: the frame's own when there is but one. */
  get bytes(): Uint8Array {
    return this.joined ??= native(this.count === 1 && this.frame !== undefined ? this.frame.bytes : this.join())
  }

  private join(): Uint8Array {
    const joined = new Uint8Array(this.size)
    for (let batch: Batch = this; batch.parent !== undefined && batch.frame !== undefined; batch = batch.parent) {
      joined.set(batch.frame.bytes, batch.parent.size)
    }
    return joined
  }

  /** The frames, oldest first. */
  get frames(): ReadonlyArray<Frame> {
    const frames = new Array<Frame>(this.count)
    for (let batch: Batch = this; batch.parent !== undefined && batch.frame !== undefined; batch = batch.parent) {
      frames[batch.count - 1] = batch.frame
    }
    return frames
  }
}
