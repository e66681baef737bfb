/**
 * Publications that go to Redis together.
 *
 * @since 1.0.0
 */
import type * as Exit from "effect/Exit"
import type { BrokerError, StreamOptions } from "../channels/Broker.js"
import type { StreamPosition } from "../channels/Publication.js"

/**
 * What became of a publication. Without a stream it has no position.
 *
 * @internal
 */
export type Published = Exit.Exit<StreamPosition | undefined, BrokerError>

/** In one command: Redis does nothing else meanwhile. */
const mostPublications = 256
const mostUnits = 262_144

/**
 * Publications for one channel that go in one command.
 *
 * @internal
 */
export class Batch {
  readonly channel: string
  readonly stream: StreamOptions | undefined
  readonly payloads: Array<string>
  readonly waiters: Array<(exit: Published) => void>
  private size: number

  constructor(
    channel: string,
    stream: StreamOptions | undefined,
    payload: string,
    done: (exit: Published) => void
  ) {
    this.channel = channel
    this.stream = stream
    // Most have one publication: an array that begins empty would make room for seventeen.
    this.payloads = [payload]
    this.waiters = [done]
    this.size = payload.length
  }

  takes(stream: StreamOptions | undefined): boolean {
    const own = this.stream
    return this.payloads.length < mostPublications && this.size < mostUnits && (own === stream ||
      own !== undefined && stream !== undefined && own.size === stream.size && own.ttl === stream.ttl &&
        own.metaTtl === stream.metaTtl)
  }

  add(payload: string, done: (exit: Published) => void): void {
    this.payloads.push(payload)
    this.size += payload.length
    this.waiters.push(done)
  }
}
