/**
 * The page at `/`, as one response.
 */
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { createHash } from "node:crypto"
import { markup } from "./page/markup.js"
import { script } from "./page/script.js"
import { style } from "./page/style.js"

const source = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** Nothing but what the page itself holds runs or is loaded, and it connects to its own origin only. */
const policy = [
  "default-src 'none'",
  `script-src ${source(script)}`,
  `style-src ${source(style)}`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'"
].join("; ")

const page = HttpServerResponse.text(markup(style, script), {
  contentType: "text/html; charset=utf-8",
  headers: {
    "content-security-policy": policy,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache"
  }
})

/**
 * `/`.
 */
export const route = HttpLayerRouter.add("GET", "/", page)
