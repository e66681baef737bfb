/**
 * Publications of one client that a broker elsewhere has not confirmed.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Signal } from "../core/Signal.js"
import type { Broker, BrokerError, BrokerPublish } from "./Broker.js"
import { internalError, type ProtocolError } from "./ProtocolCode.js"

/** How many publications, and UTF-16 units of their data, may be under way for one client. */
const most = 128
const mostUnits = 256 * 1024

/** Whose publications they are. */
interface Client {
  /** The reply to a publication. */
  readonly published: (id: number, error: ProtocolError | undefined) => string
  /** For the command that is being handled. */
  readonly reply: (document: string) => void
  readonly tell: (document: string) => void
}

/**
 * Lets a client's publications be under way together, so that they share the way to the broker and back. Whatever else
 * the client asks for waits until they are confirmed, as if each had been waited for.
 *
 * @internal
 */
export class UnderWay {
  private count = 0
  private units = 0
  private answers: Array<string> = []
  /** The only publication is being handed over. */
  private isAlone = false
  private readonly changed = new Signal()
  private readonly publish: NonNullable<Broker["Type"]["unsafePublish"]>
  private readonly client: Client

  constructor(publish: NonNullable<Broker["Type"]["unsafePublish"]>, client: Client) {
    this.publish = publish
    this.client = client
  }

  /** Publishes at once, without waiting for the broker, unless too much is under way. `id`: of the command. */
  start(channel: string, publication: BrokerPublish, id: number): Effect.Effect<void> {
    if (!this.isFree) return this.startLater(channel, publication, id)
    const { length } = publication.data
    this.isAlone = this.isIdle
    this.count++
    this.units += length
    this.publish(channel, publication, this.answering(id, length))
    this.isAlone = false
    return Effect.void
  }

  private startLater(channel: string, publication: BrokerPublish, id: number): Effect.Effect<void> {
    return Effect.zipRight(
      this.changed.until(() => this.isFree),
      Effect.suspend(() => this.start(channel, publication, id))
    )
  }

  /** Apart, so that the closure keeps nothing else alive: what is kept for each publication makes garbage costly. */
  private answering(id: number, units: number) {
    return (exit: Exit.Exit<unknown, BrokerError>): void => {
      this.count--
      this.units -= units
      const error = Exit.isSuccess(exit) ? undefined : internalError(Cause.squash(exit.cause))
      const answer = this.client.published(id, error)
      // A broker in this process is done at once. Another confirms many at once: their replies leave together.
      if (this.isAlone) return this.client.reply(answer)
      if (this.answers.push(answer) === 1) queueMicrotask(this.flush)
      this.changed.notify()
    }
  }

  private get isFree(): boolean {
    return this.count < most && this.units < mostUnits
  }

  private get isIdle(): boolean {
    return this.count === 0 && this.answers.length === 0
  }

  /** Runs the effect once nothing is under way. */
  after<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.isIdle ? effect : Effect.zipRight(this.changed.until(() => this.isIdle), effect)
  }

  private readonly flush = (): void => {
    const { answers } = this
    this.answers = []
    this.client.tell(answers.join("\n"))
    this.changed.notify()
  }
}
