/**
 * What code of the application runs with that serves clients.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { Signal, within } from "../core/Signal.js"

/**
 * Runs an effect with the services of where it was registered. A `Scope` that it requires is the one that is given, or
 * closes when the effect is done.
 *
 * @internal
 */
export type Run<R> = <A, E>(effect: Effect.Effect<A, E, R>, scope?: Scope.Scope) => Effect.Effect<A, E>

/** How long a registration's services wait for what runs for clients. */
const patience = 2000

/**
 * For as long as the current scope lives. At its end it waits until all is done, for two seconds at most: register after
 * this, so that nobody is let in any more when it waits.
 *
 * @internal
 */
export const make = <R>(): Effect.Effect<Run<R>, never, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function*() {
    // What runs for a client is no part of the span that the registration was made in.
    const context = Context.omit(Tracer.ParentSpan)(
      (yield* Effect.context<Exclude<R, Scope.Scope>>()) as Context.Context<Tracer.ParentSpan>
    )
    let running = 0
    const changed = new Signal()
    const done = Effect.sync(() => {
      running--
      changed.notify()
    })
    yield* Effect.addFinalizer(() => within(changed.until(() => running === 0), patience))
    return (effect, scope) =>
      Effect.acquireUseRelease(
        Effect.sync(() => running++),
        () =>
          Effect.scopedWith((own) =>
            Effect.provide(effect, Context.add(context, Scope.Scope, scope ?? own) as Context.Context<R>)
          ),
        () => done
      )
  })
