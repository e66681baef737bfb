/**
 * One who shares a subscription.
 *
 * @since 1.0.0
 */
import type { StreamPosition } from "../channels/Publication.js"
import { Gap, type SlowReader } from "./ClientError.js"
import { onFull, Reader } from "./Reader.js"
import type { Event, Member, ReadOptions, SubscribeError } from "./Subscription.js"

const notRecovered = (position: StreamPosition | undefined): Gap =>
  new Gap({ reason: "not-recovered", lost: undefined, position })

/** @internal */
export class Subscriber {
  readonly events: Reader<Event, SubscribeError | SlowReader>
  readonly members: Reader<Member | Gap, SubscribeError | SlowReader>
  /** What it was told when it was subscribed. */
  granted: { readonly data: unknown; readonly position: StreamPosition | undefined } | undefined
  /** Its scope has closed. */
  left = false
  private readonly expectant: boolean
  private readonly hearsMembers: boolean

  constructor(
    bufferSize: number,
    { joinLeave, overflow = "fail", since }: ReadOptions & { readonly since?: StreamPosition | undefined }
  ) {
    this.events = new Reader(bufferSize, onFull(overflow, bufferSize))
    this.members = new Reader(bufferSize, onFull(overflow, bufferSize))
    this.expectant = since !== undefined
    this.hearsMembers = joinLeave === true
  }

  subscribed(data: unknown, position: StreamPosition | undefined, recovered: boolean): void {
    const again = this.granted !== undefined
    this.granted ??= { data, position }
    if (again) this.member(notRecovered(undefined))
    // Who has just come missed nothing, unless it said from where.
    if (again || this.expectant) this.events.offer(recovered ? { _tag: "Recovered", position } : notRecovered(position))
  }

  member(member: Member | Gap): void {
    if (this.hearsMembers) this.members.offer(member)
  }

  fail(error: SubscribeError): void {
    this.events.fail(error)
    this.members.fail(error)
  }

  leave(): void {
    this.left = true
    this.events.done()
    this.members.done()
  }
}
