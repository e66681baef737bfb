/**
 * The server API: what a backend calls over HTTP. A backend in TypeScript makes its client from the definition, by
 * `HttpApiClient.make(ServerApi.api)`.
 *
 * @since 1.0.0
 */
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Channels } from "./Channels.js"
import * as ServerApiKeys from "./ServerApiKeys.js"
import * as ServerApiRoutes from "./ServerApiRoutes.js"

export {
  /**
   * The definition.
   *
   * @since 1.0.0
   * @category models
   */
  api,
  /**
   * Asks for a key, in either of two headers.
   *
   * @since 1.0.0
   * @category tags
   */
  ApiKey,
  /**
   * The answer to a wrong key, or none.
   *
   * @since 1.0.0
   * @category schemas
   */
  Unauthorized
} from "./ServerApiDefinition.js"

export {
  /**
   * What `batch` takes.
   *
   * @since 1.0.0
   * @category schemas
   */
  BatchRequest,
  /**
   * Why something was refused.
   *
   * @since 1.0.0
   * @category schemas
   */
  ErrorObject,
  /**
   * The methods, but for `batch`.
   *
   * @since 1.0.0
   * @category models
   */
  type MethodName,
  /**
   * What each method takes, but for `batch`.
   *
   * @since 1.0.0
   * @category schemas
   */
  requests,
  /**
   * What each method answers, but for `batch`.
   *
   * @since 1.0.0
   * @category schemas
   */
  results
} from "./ServerApiSchema.js"

/**
 * @since 1.0.0
 * @category models
 */
export interface Options extends ServerApiRoutes.RoutesOptions {
  /** Any of them is accepted; two make it possible to replace one. None: no API, and its paths are 404. */
  readonly keys: ReadonlyArray<Redacted.Redacted>
}

/**
 * Adds the server API to a router: `POST /api/<method>`, `/api/openapi.json` and `/api/docs`.
 *
 * A key that is empty is a mistake in the configuration, not a key: it is left out.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<never, never, HttpLayerRouter.HttpRouter | Channels> => {
  const keys = options.keys.filter((key) => Redacted.value(key) !== "")
  return keys.length === 0 ? Layer.empty : Layer.provide(ServerApiRoutes.layer(options), ServerApiKeys.layer(keys))
}
