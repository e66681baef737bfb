/**
 * What the log says of operations that fail.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import { BrokerError } from "./Broker.js"
import type { ProtocolError } from "./ProtocolCode.js"
import { KeysUnavailable } from "./TokenKeys.js"

/**
 * Why code of the application has ended that should not have: with a defect, or since it waited for what was interrupted.
 * Who is interrupted himself does not come to ask.
 *
 * @internal
 */
export const isFault = (cause: Cause.Cause<unknown>): boolean => Cause.isDie(cause) || Cause.isInterruptedOnly(cause)

const isExpected = (cause: unknown): boolean => cause instanceof BrokerError || cause instanceof KeysUnavailable

/** As a `Cause`, what is wrong has its stack and its own causes in the log, whatever the format. */
const logged = (level: LogLevel.LogLevel, message: string, cause?: unknown): Effect.Effect<void> =>
  Effect.annotateLogs(
    cause === undefined
      ? Effect.logWithLevel(level, message)
      : Effect.logWithLevel(level, message, isExpected(cause) ? Cause.fail(cause) : Cause.die(cause)),
    { package: "effect-ws-hub" }
  )

/** @internal */
export class Faults {
  /** The broker failed, and has done nothing since. */
  private isAway = false

  private readonly said = new Set<string>()

  /** The broker did something. */
  worked(): void {
    this.isAway = false
  }

  /** An operation failed: the client reads the error, the log its cause. */
  complain(operation: string, error: ProtocolError): Effect.Effect<void> {
    return this.failed(`The operation ${operation} of a client failed`, error)
  }

  /** Whoever called reads the error, the log its cause. */
  failed(message: string, { cause }: ProtocolError): Effect.Effect<void> {
    return cause === undefined
      ? Effect.void
      : cause instanceof BrokerError
      ? this.brokerFailed(LogLevel.Error, message, cause)
      // Anyone may bring a token with a key that there is not.
      : logged(cause instanceof KeysUnavailable && cause.isKnown ? LogLevel.Debug : LogLevel.Error, message, cause)
  }

  /** For what may befall many clients. The messages are few. */
  sayOnce(message: string): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.said.has(message)) return Effect.void
      this.said.add(message)
      return logged(LogLevel.Warning, message)
    })
  }

  /** For what must go on although the broker fails. */
  readonly attempt = (what: string, effect: Effect.Effect<void, BrokerError>): Effect.Effect<void> =>
    Effect.catchAll(effect, (error) => this.brokerFailed(LogLevel.Warning, `Could not ${what}`, error))

  /** A broker that is away fails for every client: the log says it once, and again only after it was there. */
  private brokerFailed(level: LogLevel.LogLevel, message: string, error: BrokerError): Effect.Effect<void> {
    return Effect.suspend(() => {
      const isKnown = this.isAway
      this.isAway = true
      return logged(isKnown ? LogLevel.Debug : level, message, error)
    })
  }
}
