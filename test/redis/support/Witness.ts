/** Subscribers that write down where in the stream they were, and what the law says of that. */
import { assert } from "@effect/vitest"
import type { PublicationContext, SubscribedContext } from "centrifuge"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Sdk, sdk } from "../../channels/support.js"
import type { Position } from "./HubNode.js"
import type { Line } from "./Line.js"

export const urlOf = ({ port }: Pick<Line, "port">): string => `ws://127.0.0.1:${port}/connection/websocket`

const place = ({ epoch, offset }: Position): string => `${epoch} ${offset}`

/** What is at each place of a stream, as far as anybody has said: it is one thing for all. */
export class Ledger {
  private readonly places = new Map<string, unknown>()

  get size(): number {
    return this.places.size
  }

  enter(position: Position, data: unknown, who: string): void {
    const at = place(position)
    if (!this.places.has(at)) this.places.set(at, data)
    else assert.deepStrictEqual(data, this.places.get(at), `${who}: something else is at ${at}`)
  }
}

/** A client of this user in one channel, with recovery. */
export class Witness {
  readonly name: string
  readonly client: Sdk
  /** Subscriptions that went on where the one before ended, and those that could not: it was told so. */
  readonly starts = { recovered: 0, told: 0 }
  private at: Position | undefined = undefined
  private readonly faults: Array<string> = []
  private readonly seen: Array<readonly [Position, unknown]> = []
  private waiting: Array<() => void> = []

  constructor(name: string, client: Sdk, channel: string) {
    this.name = name
    this.client = client
    const { sub } = client.sub(channel)
    sub.on("subscribed", (context) => this.onSubscribed(context))
    sub.on("publication", (context) => this.onPublication(context))
    client.client.connect()
  }

  private onSubscribed({ recovered, streamPosition, wasRecovering }: SubscribedContext): void {
    const before = this.at
    if (streamPosition === undefined) this.faults.push("subscribed without a position")
    else if (recovered) {
      this.starts.recovered++
      if (before === undefined || place(before) !== place(streamPosition)) {
        this.faults.push(`goes on at ${place(streamPosition)}, and was at ${before && place(before)}`)
      }
    } else {
      if (before !== undefined) {
        this.starts.told++
        if (!wasRecovering) this.faults.push("did not try to recover")
      }
      this.at = streamPosition
    }
    this.wake()
  }

  private onPublication({ data, offset = 0 }: PublicationContext): void {
    const { at } = this
    if (at === undefined || offset !== at.offset + 1) this.faults.push(`offset ${offset} follows ${at && place(at)}`)
    this.at = { epoch: at?.epoch ?? "", offset }
    this.seen.push([this.at, data])
    this.wake()
  }

  private wake(): void {
    const { waiting } = this
    this.waiting = []
    for (const wake of waiting) wake()
  }

  get count(): number {
    return this.seen.length
  }

  get position(): string {
    return this.at === undefined ? "not subscribed" : place(this.at)
  }

  /** Waits until something holds of it; looks whenever something happened. */
  until(holds: (witness: Witness) => boolean): Effect.Effect<void> {
    return Effect.async((resume) => {
      const look = () => {
        if (holds(this)) resume(Effect.void)
        else this.waiting.push(look)
      }
      look()
    })
  }

  reached(position: Position): Effect.Effect<void> {
    return this.until((witness) => witness.position === place(position))
  }

  /** Each offset came once and in order, or it was told; and all is what the ledger says. */
  check(ledger: Ledger): void {
    assert.deepStrictEqual(this.faults, [], this.name)
    for (const [position, data] of this.seen) ledger.enter(position, data, this.name)
  }
}

/** Connects, and waits until it is subscribed. */
export const witness = (line: Line, name: string, channel: string): Effect.Effect<Witness, never, Scope.Scope> =>
  sdk({ url: urlOf(line) }, {
    token: name,
    timeout: 3000,
    minReconnectDelay: 50,
    maxReconnectDelay: 500
  }).pipe(
    Effect.map((client) => new Witness(name, client, channel)),
    Effect.tap((witness) => witness.until(({ position }) => position !== "not subscribed"))
  )
