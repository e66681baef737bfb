/**
 * What was sent to a connection and its socket has not been given yet.
 *
 * @since 1.0.0
 */
import * as Frame from "./Frame.js"
import type { HubConfig, OverflowPolicy } from "./HubConfig.js"
import * as HubMetrics from "./HubMetrics.js"
import type { ByteStream, Transport } from "./Transport.js"
import type { Turn } from "./Turn.js"

/** A batch this large is written at once, without waiting for the end of the turn. */
const flushBytes = 64 * 1024

/**
 * What the outbox tells its connection.
 *
 * @internal
 */
export interface OutboxEvents {
  /** Frames begin to gather because the peer does not read. */
  readonly onBehind: () => void
  /** A frame did not fit. */
  readonly onOverflow: (outcome: "dropped" | "disconnected") => void
}

/**
 * The outbound queue of one connection, bounded in bytes. While the peer keeps up it holds this turn's batch alone.
 * Frames gather, under the overflow policy, while the socket is behind (`backlog`) and until the greeting is out
 * (`held`).
 *
 * @internal
 */
export class Outbox {
  /** This turn's frames. */
  private batch: Frame.Batch | undefined = undefined
  private inTurn = false
  /** Frames behind those that the socket has not taken, by conflation key or number. */
  private backlog: Map<unknown, Frame.Frame> | undefined = undefined
  /** What others sent before the greeting was out. */
  private held: Map<unknown, Frame.Frame> | undefined = new Map()
  private gatheredBytes = 0
  private nextNumber = 0
  /** A frame costs memory beside its bytes, so tiny ones are bounded in number. */
  private readonly mostFrames: number
  private readonly turn: Turn
  private readonly transport: Transport
  private readonly config: HubConfig
  private readonly events: OutboxEvents

  constructor(turn: Turn, transport: Transport, config: HubConfig, events: OutboxEvents) {
    this.turn = turn
    this.transport = transport
    this.config = config
    this.mostFrames = Math.max(256, config.outboxBytes / 64)
    this.events = events
  }

  /** This turn's frames, to see whether more have come. */
  get pending(): Frame.Batch | undefined {
    return this.batch
  }

  /** Whether the socket is behind. */
  get isBehind(): boolean {
    return this.backlog !== undefined
  }

  /**
   * Accepts a frame, or applies the policy; until the greeting is out the frame waits for it. Returns whether the frame
   * was accepted. Never waits.
   */
  offer(frame: Frame.Frame): boolean {
    return this.held === undefined ? this.offerNow(frame) : this.gather(this.held, frame)
  }

  /** As `offer`, without waiting for the greeting: what the connection's own handler sends. */
  offerNow(frame: Frame.Frame): boolean {
    if (this.backlog !== undefined) return this.gather(this.backlog, frame)
    if (this.batch === undefined) {
      if (!this.inTurn) {
        this.inTurn = true
        this.turn.add(this)
      }
      this.batch = this.turn.start
    }
    if (this.batch.size + this.gatheredBytes + frame.size > this.config.outboxBytes) return this.offerLarge(frame)
    this.batch = this.batch.append(frame)
    if (this.batch.size >= flushBytes) this.flush()
    return true
  }

  /** The greeting is out: what waited for it follows. */
  release(): void {
    const held = this.held
    if (held === undefined) return
    this.held = undefined
    if (held.size === 0) return
    this.gatheredBytes -= [...held.values()].reduce((bytes, frame) => bytes + frame.size, 0)
    for (const frame of held.values()) this.offerNow(frame)
  }

  /** Writes this turn's frames. */
  flush(): void {
    const batch = this.batch
    if (batch === undefined || batch.count === 0) return
    this.batch = undefined
    if (!this.transport.write(batch)) this.fallBehind()
  }

  /**
   * The turn that this outbox was part of is over. Returns where its frames are to be written now, by the caller; if
   * nowhere, `flush` does it.
   */
  endTurn(): ByteStream | undefined {
    this.inTurn = false
    const { batch } = this
    const stream = batch === undefined || batch.count === 0 ? undefined : this.transport.stream()
    if (stream !== undefined) this.batch = undefined
    return stream
  }

  /** The socket did not take all that it was given. */
  fallBehind(): void {
    this.backlog ??= new Map()
    this.events.onBehind()
  }

  /** The socket has taken what it was given: writes the backlog until the socket is behind again. */
  writeBacklog(): void {
    const backlog = this.backlog
    if (backlog === undefined) return
    while (backlog.size > 0) {
      let batch = Frame.Batch.empty()
      for (const [key, frame] of backlog) {
        backlog.delete(key)
        this.gatheredBytes -= frame.size
        batch = batch.append(frame)
        if (batch.size >= flushBytes) break
      }
      if (!this.transport.write(batch)) return
    }
    this.backlog = undefined
  }

  /** Gives up all frames that the socket was not given. Returns how many. */
  abandon(): number {
    const count = (this.batch?.count ?? 0) + (this.backlog?.size ?? 0) + (this.held?.size ?? 0)
    this.batch = undefined
    this.backlog?.clear()
    this.held?.clear()
    this.gatheredBytes = 0
    return count
  }

  /** A frame that exceeds the bound together with this turn's: the turn's are written first. */
  private offerLarge(frame: Frame.Frame): boolean {
    this.flush()
    if (this.backlog !== undefined) return this.gather(this.backlog, frame)
    return this.gatheredBytes + frame.size > this.config.outboxBytes
      ? this.overflow(frame.overflow ?? this.config.overflow)
      : this.offerNow(frame)
  }

  private gather(frames: Map<unknown, Frame.Frame>, frame: Frame.Frame): boolean {
    const policy = frame.overflow ?? this.config.overflow
    const conflated = policy === "conflate" && frame.key !== undefined && frames.get(frame.key)
    if (conflated) {
      this.drop(frames, frame.key, conflated)
      HubMetrics.overflow("conflated").unsafeUpdate(1, [])
    }
    const room = this.config.outboxBytes - (this.batch?.size ?? 0) - this.transport.bufferedBytes() - frame.size
    const isFull = () => this.gatheredBytes > room || frames.size >= this.mostFrames
    if (isFull()) {
      if (policy !== "drop-oldest" || room < 0) return this.overflow(policy)
      for (const [key, oldest] of frames) {
        if (!isFull()) break
        if ((oldest.overflow ?? this.config.overflow) !== "drop-oldest") continue
        this.drop(frames, key, oldest)
        this.events.onOverflow("dropped")
      }
      if (isFull()) return this.overflow(policy)
    }
    frame.own()
    frames.set(policy === "conflate" ? frame.key ?? this.nextNumber++ : this.nextNumber++, frame)
    this.gatheredBytes += frame.size
    return true
  }

  private drop(frames: Map<unknown, Frame.Frame>, key: unknown, frame: Frame.Frame): void {
    frames.delete(key)
    this.gatheredBytes -= frame.size
  }

  private overflow(policy: OverflowPolicy): false {
    const drops = policy === "drop-newest" || policy === "drop-oldest"
    this.events.onOverflow(drops ? "dropped" : "disconnected")
    return false
  }
}
