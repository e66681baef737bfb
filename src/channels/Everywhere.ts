/**
 * What is done on this node and on all others.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import { BrokerError } from "./Broker.js"
import type { Answered } from "./Channels.js"
import type { Answers, Ask } from "./Cluster.js"
import * as Control from "./Control.js"
import type { Node } from "./Node.js"

/** Stands for all other nodes, where it is not known which there are. */
const allOthers = "*"

interface Results<A> extends Answered {
  /** In no order. */
  readonly others: ReadonlyArray<A>
}

const nothing: Results<never> = { others: [], missing: [] }

/**
 * The other nodes. The log says once that they cannot be asked, and again only after they could.
 *
 * @internal
 */
export class Others {
  private readonly ask: Ask
  private isAway = false

  constructor(ask: Ask) {
    this.ask = ask
  }

  request<A, I>(
    request: Control.RequestOf<A, I>,
    isEnough: ((answer: A) => boolean) | undefined
  ): Effect.Effect<Results<A>> {
    const decode = Control.decodeAnswer(request)
    const enough = isEnough &&
      ((text: string) => Either.match(decode(text), { onLeft: () => false, onRight: isEnough }))
    const asked = Effect.suspend(() =>
      Either.match(Control.encodeRequest(request), {
        onLeft: (cause) => new BrokerError({ operation: "ask", cause }),
        onRight: (text) => this.ask(text, enough)
      })
    )
    return Effect.matchEffect(asked, {
      onFailure: (error) => this.failed(error),
      onSuccess: (answers) => this.read(request, answers, decode, isEnough)
    })
  }

  private failed(error: BrokerError): Effect.Effect<Results<never>> {
    const result = { others: [], missing: [allOthers] }
    if (this.isAway) return Effect.succeed(result)
    this.isAway = true
    return Effect.as(warn(`The other nodes cannot be asked: ${error.message}`), result)
  }

  private read<A, I>(
    { _tag }: Control.RequestOf<A, I>,
    { answers, missing }: Answers,
    decode: (text: string) => Either.Either<A, string>,
    isEnough: ((answer: A) => boolean) | undefined
  ): Effect.Effect<Results<A>> {
    this.isAway = false
    const others: Array<A> = []
    const refusals: Array<{ readonly node: string; readonly reason: string }> = []
    for (const { answer, node } of answers) {
      const decoded = decode(answer)
      if (Either.isRight(decoded)) others.push(decoded.right)
      else refusals.push({ node, reason: decoded.left })
    }
    const isDone = isEnough !== undefined && others.some(isEnough)
    const result = { others, missing: isDone ? [] : [...missing, ...refusals.map(({ node }) => node)] }
    return Effect.as(
      Effect.forEach(
        refusals,
        ({ node, reason }) => warn(`The node ${node} did not do what it was asked (${_tag}): ${reason}`),
        { discard: true }
      ),
      result
    )
  }
}

const warn = (message: string): Effect.Effect<void> =>
  Effect.annotateLogs(Effect.logWarning(message), { package: "effect-ws-hub" })

/**
 * Does something here and asks the others for it, at the same time. A request for one client ends where that client is.
 *
 * @internal
 */
export const everywhere = <A, I, E>(
  node: Node,
  request: Control.RequestOf<A, I>,
  here: Effect.Effect<A, E>,
  isEnough?: (answer: A) => boolean
): Effect.Effect<Answered & { readonly results: ReadonlyArray<A> }, E> =>
  Effect.suspend(() => {
    const client = "client" in request && request.client !== "" ? request.client : undefined
    const others = client === undefined
      ? node.others.request(request, undefined)
      : node.roster.client(client) === undefined
      ? node.others.request(request, isEnough)
      : undefined
    if (others === undefined) return Effect.map(here, (result) => ({ results: [result], missing: nothing.missing }))
    // Not `zip` with `concurrent`: it never ends when it is interrupted before its fibers have started.
    return Effect.flatMap(Effect.fork(others), (asked) =>
      Effect.zipWith(
        here,
        Fiber.join(asked),
        (result, { missing, others }) => ({ results: [result, ...others], missing })
      ).pipe(Effect.onError(() => Fiber.interrupt(asked))))
  })

/**
 * As `everywhere`, for what counts connections.
 *
 * @internal
 */
export const count = <E>(
  node: Node,
  request: Control.RequestOf<number, number>,
  here: Effect.Effect<number, E>
): Effect.Effect<Answered & { readonly count: number }, E> =>
  Effect.map(everywhere(node, request, here, (count) => count > 0), ({ missing, results }) => ({
    count: results.reduce((sum, count) => sum + count, 0),
    missing
  }))
