/**
 * One client's subscription to one channel: what it gets, and where it stands in the stream.
 *
 * @since 1.0.0
 */
import type * as Scope from "effect/Scope"
import type { Override } from "./Authenticator.js"
import type { Namespace } from "./Namespace.js"
import type { StreamPosition } from "./Publication.js"
import type { Live } from "./Recovery.js"
import type { Session } from "./Session.js"

/**
 * What a publication is for a subscriber: to be delivered, nothing (had already, or kept for the start), or the proof
 * that it missed something.
 *
 * @internal
 */
export type Verdict = "deliver" | "skip" | "gap"

/**
 * Goes from `Starting` (publications are kept) to `Live` (they are delivered) to `Over`, and never back.
 *
 * @internal
 */
export class Subscription {
  readonly session: Session
  readonly channel: string
  readonly namespace: Namespace
  /** The server subscribed the client, which did not ask. */
  readonly serverSide: boolean
  status: "Starting" | "Live" | "Over" = "Starting"
  /** Live publications, for as long as it starts. */
  kept: Array<Live> = []
  positioned = false
  recoverable = false
  private offset = 0
  private epoch = ""
  /** Whether it gets joins and leaves. */
  hearsJoins = false
  /** Whether others are told of its join and leave. */
  announced = false
  /** Whether its presence is, or may be, known. */
  present = false
  /** Whether its join was, or may have been, published; then its leave will be. */
  joined = false
  /** Seconds of Unix time. */
  expireAt: number | undefined = undefined
  /** Whether the client can put that off, with another token. */
  refreshable = false
  info: unknown = undefined
  /** What a handler acquired for it. */
  scope: Scope.CloseableScope | undefined = undefined
  /** A position that the stream had already when this was behind it, at the last comparison. */
  private suspectedAt: number | undefined = undefined

  constructor(session: Session, channel: string, namespace: Namespace, serverSide: boolean) {
    this.session = session
    this.channel = channel
    this.namespace = namespace
    this.serverSide = serverSide
  }

  get position(): StreamPosition {
    return { offset: this.offset, epoch: this.epoch }
  }

  /** Whether it was behind at the last comparison. */
  get isSuspected(): boolean {
    return this.suspectedAt !== undefined
  }

  /** What the grant overrides, or the namespace says. */
  option(
    name: "presence" | "joinLeave" | "forcePushJoinLeave" | "forceRecovery" | "forcePositioning",
    override: Override | undefined
  ): boolean {
    return override?.[name] ?? this.namespace[name]
  }

  /** From here on publications are delivered. */
  start({ epoch, offset }: StreamPosition): void {
    this.offset = offset
    this.epoch = epoch
    this.kept = []
    this.status = "Live"
  }

  take(live: Live): Verdict {
    if (this.status === "Over") return "skip"
    if (this.status === "Starting") {
      if (this.positioned) this.kept.push(live)
      return "skip"
    }
    const { offset } = live.publication
    if (!this.positioned || offset === 0) return "deliver"
    if (this.epoch === "") this.epoch = live.epoch
    if (this.epoch !== live.epoch || offset > this.offset + 1) return "gap"
    if (offset <= this.offset) return "skip"
    this.offset = offset
    return "deliver"
  }

  /**
   * Compares with the newest position of the stream. Behind at two comparisons, and not at what the stream had at the
   * first, is missing something: what is on its way has arrived by then.
   */
  isBehind(top: StreamPosition): boolean {
    if (this.status !== "Live" || !this.positioned) return false
    if (this.epoch !== top.epoch && this.epoch !== "") return true
    const missing = this.suspectedAt !== undefined && this.offset < this.suspectedAt
    this.suspectedAt = this.offset < top.offset ? top.offset : undefined
    return missing
  }
}
