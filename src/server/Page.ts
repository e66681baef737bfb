/**
 * The page at `/`, as one response: a playground that uses the official SDK of the protocol.
 */
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createHash } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { markup } from "./page/markup.js"
import { script } from "./page/script.js"
import { style } from "./page/style.js"

/** Where the build puts the SDK, and where it is in a clone. */
const places = ["./page/centrifuge.js", "../../node_modules/centrifuge/dist/centrifuge.js"]

/** The SDK as it stands in the page. Its map is not there, and browsers would ask for it. */
const sdk = Effect.suspend(() => {
  const found = places.map((place) => new URL(place, import.meta.url)).find((place) => existsSync(place))
  return found === undefined
    ? Effect.dieMessage("The SDK of the page is missing: npm run build puts it into dist.")
    : Effect.succeed(readFileSync(found, "utf8").replace(/\n\/\/# sourceMappingURL=\S*\s*$/, "\n"))
})

const source = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** Nothing but what the page itself holds runs or is loaded, and it connects to its own origin only. */
const policy = (scripts: ReadonlyArray<string>) =>
  [
    "default-src 'none'",
    `script-src ${scripts.map(source).join(" ")}`,
    `style-src ${source(style)}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; ")

const page = (sdk: string) =>
  HttpServerResponse.text(markup(style, sdk, script), {
    contentType: "text/html; charset=utf-8",
    headers: {
      "content-security-policy": policy([sdk, script]),
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cache-control": "no-cache"
    }
  })

/**
 * `/`.
 */
export const route = Layer.unwrapEffect(Effect.map(sdk, (sdk) => HttpLayerRouter.add("GET", "/", page(sdk))))
