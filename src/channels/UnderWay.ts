/**
 * Publications of one client that a broker elsewhere has not confirmed.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { Signal } from "../core/Signal.js"
import type { Broker, BrokerError, BrokerPublish } from "./Broker.js"

/** How many publications, and UTF-16 units of their data, may be under way for one client. */
const most = 128
const mostUnits = 256 * 1024

/** Whom the replies are for: `reply` is for the command that is being handled. */
interface Client {
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
  private readonly changed = new Signal()
  private readonly publish: NonNullable<Broker["Type"]["unsafePublish"]>
  private readonly client: Client

  constructor(publish: NonNullable<Broker["Type"]["unsafePublish"]>, client: Client) {
    this.publish = publish
    this.client = client
  }

  /**
   * Publishes at once, without waiting for the broker, unless too much is under way. `onDone` returns the reply, if it
   * has one.
   */
  start(
    channel: string,
    publication: BrokerPublish,
    onDone: (exit: Exit.Exit<unknown, BrokerError>) => string | undefined
  ): Effect.Effect<void> {
    const isFree = () => this.count < most && this.units < mostUnits
    if (!isFree()) {
      return Effect.zipRight(
        this.changed.until(isFree),
        Effect.suspend(() => this.start(channel, publication, onDone))
      )
    }
    const { length } = publication.data
    const isAlone = this.isIdle
    let isStarting = true
    this.count++
    this.units += length
    this.publish(channel, publication, (exit) => {
      this.count--
      this.units -= length
      const answer = onDone(exit)
      // A broker in this process is done at once. Another confirms many at once: their replies leave together.
      if (isStarting && isAlone) {
        if (answer !== undefined) this.client.reply(answer)
        return
      }
      if (answer !== undefined && this.answers.push(answer) === 1) queueMicrotask(this.flush)
      this.changed.notify()
    })
    isStarting = false
    return Effect.void
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
