/**
 * The nodes that serve the same channels, and how they ask each other.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { BrokerError } from "./Broker.js"

/**
 * A node of a cluster.
 *
 * @since 1.0.0
 * @category models
 */
export interface Member {
  /** No other node has it, and no other run of the same program. */
  readonly uid: string
  /** Answers a request of another node, both of them JSON text. It always answers; what goes wrong is in the answer. */
  readonly answer: (request: string) => Effect.Effect<string>
}

/**
 * What the other nodes answered, each once at most, and which of them did not in time.
 *
 * @since 1.0.0
 * @category models
 */
export interface Answers {
  readonly answers: ReadonlyArray<{ readonly node: string; readonly answer: string }>
  readonly missing: ReadonlyArray<string>
}

/**
 * Asks all other nodes, and waits for their answers, for as long as the carrier has patience. If `isEnough` says so of an
 * answer, no other is waited for and none is missing. Fails if it cannot ask, or does not know whom; some may have been
 * asked all the same.
 *
 * @since 1.0.0
 * @category models
 */
export type Ask = (
  request: string,
  isEnough?: (answer: string) => boolean
) => Effect.Effect<Answers, BrokerError>

const noAnswers: Answers = { answers: [], missing: [] }

const alone: {
  readonly join: (member: Member) => Effect.Effect<Ask, never, Scope.Scope>
} = {
  join: () => Effect.succeed(() => Effect.succeed(noAnswers))
}

/**
 * Carries requests between the nodes that serve the same channels. It knows nothing of what they ask: text goes in, text
 * comes out. Unless a layer says otherwise, a node is alone.
 *
 * `join` makes a node known to the others and has it answer them, for as long as the scope lives, and returns how it asks
 * them. Being known is a lease that is renewed: a node that died is asked, and missing, until its lease is over, and is
 * not known after that. Joining does not wait until the others can be reached.
 *
 * @since 1.0.0
 * @category references
 */
export class Cluster extends Context.Reference<Cluster>()("effect-ws-hub/Cluster", {
  defaultValue: () => alone
}) {}
