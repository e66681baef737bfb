/**
 * What is configured of traces, and the layer that sends them.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Configuration } from "./Configuration.js"
import * as OptionalPeer from "./OptionalPeer.js"
import type { Problem } from "./Problems.js"
import type { Unusable } from "./Unusable.js"

type Given = NonNullable<Configuration["telemetry"]>

/**
 * Where traces are sent.
 */
export interface TelemetryConfig {
  /** Without `/v1/traces`. */
  readonly otlpUrl: string
  readonly serviceName: string
  readonly headers: ReadonlyArray<readonly [name: string, value: Redacted.Redacted]>
}

/** A header as it is written: `authorization=Bearer ...`. */
const header = (text: Redacted.Redacted): readonly [name: string, value: Redacted.Redacted] => {
  const [name = "", ...value] = Redacted.value(text).split("=")
  return [name, Redacted.make(value.join("="))]
}

/**
 * Nothing unless there is an address for traces.
 */
export const make = ({ headers = [], otlpUrl, serviceName }: Given = {}): TelemetryConfig | undefined =>
  otlpUrl === undefined
    ? undefined
    : { otlpUrl, serviceName: serviceName ?? "effect-ws-hub", headers: headers.map(header) }

/**
 * What does not go together.
 */
export const problems = (given: Given = {}): ReadonlyArray<Problem> => {
  const { otlpUrl, ...others } = given
  if (otlpUrl === undefined) {
    return Object.keys(others).map((key) => ({
      path: ["telemetry", key],
      message: "is for telemetry.otlpUrl, which is not set."
    }))
  }
  const url = URL.canParse(otlpUrl) ? new URL(otlpUrl) : undefined
  return url?.username === "" && url.password === "" && url.search === "" && url.hash === ""
    ? []
    : [{
      path: ["telemetry", "otlpUrl"],
      message: "expected a URL without a user, a query and a fragment, got something else (it is not shown)."
    }]
}

/** Whoever sends no traces need not have the package. */
const load = OptionalPeer.load(
  // eslint-disable-next-line no-restricted-syntax -- an optional peer: an import statement would fail without it
  () => import("./OtlpTraces.js"),
  /^@effect\/opentelemetry$/,
  "telemetry.otlpUrl is set, and what sends traces is not installed. Install it beside effect-ws-hub: " +
    "npm install @effect/opentelemetry@0.64"
)

/**
 * The tracer, if one is configured. What it is provided to is traced.
 */
export const layer = (
  config: TelemetryConfig | undefined,
  node: string,
  version: string
): Layer.Layer<never, Unusable> =>
  config === undefined
    ? Layer.empty
    : Layer.unwrapEffect(Effect.map(load, (traces) => traces.layer(config, node, version)))
