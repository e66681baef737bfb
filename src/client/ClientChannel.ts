/**
 * Typed channels for a client: the definition that the server serves decodes what comes, and encodes what goes.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Channel } from "../channels/ChannelDefinition.js"
import type { HistoryOptions } from "../channels/Channels.js"
import type { ProtocolError } from "../channels/ProtocolCode.js"
import type { Publication } from "../channels/Publication.js"
import { Client } from "./Client.js"
import { type Gap, Malformed, type SlowReader } from "./ClientError.js"
import { publicationsOf } from "./Subscribing.js"
import type {
  Event,
  History,
  Published,
  RequestError,
  SubscribeError,
  SubscribeOptions,
  Subscription
} from "./Subscription.js"

/**
 * What becomes of a publication that is not as the definition says: the stream fails with `Malformed`, or it is skipped
 * with a warning in the log.
 *
 * @since 1.0.0
 * @category models
 */
export interface DecodeOptions {
  /** Defaults to `fail`. */
  readonly malformed?: "fail" | "skip" | undefined
}

/**
 * How a typed channel is subscribed to: `data` is what its definition calls `join`.
 *
 * @since 1.0.0
 * @category models
 */
export type Options<J, E = never, R = never> =
  & Omit<SubscribeOptions<E, R>, "data">
  & DecodeOptions
  & (unknown extends J ? { readonly data?: J } : { readonly data: J })

/**
 * The options, which may be left out where the definition has no `join`.
 *
 * @since 1.0.0
 * @category models
 */
export type OptionsArgs<J, E, R> = unknown extends J ? [options?: Options<J, E, R>] : [options: Options<J, E, R>]

type Decode<A> = (publication: Publication) => Effect.Effect<Option.Option<Publication<A>>, Malformed>

const decoder = <A>(
  { receive }: { readonly receive: Channel<never, A>["receive"] },
  name: string,
  { malformed = "fail" }: DecodeOptions
): Decode<A> =>
(publication) =>
  Either.match(receive.decode(publication.data), {
    onRight: (data) => Effect.succeedSome({ ...publication, data }),
    onLeft: ({ reason }) => {
      const error = new Malformed({ channel: name, publication, reason })
      return malformed === "fail"
        ? Effect.fail(error)
        : Effect.as(
          Effect.annotateLogs(Effect.logWarning(error.message), { package: "effect-ws-hub" }),
          Option.none()
        )
    }
  })
