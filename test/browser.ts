/** What the tests of pages share: Chromium, tabs in it, and waiting for what they show. */
import * as Effect from "effect/Effect"
import { existsSync } from "node:fs"
import { type Browser, chromium, type Page } from "playwright-core"

/** Debian's; another one can be named in the environment. */
const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium"
const missing = !existsSync(executablePath)
export const skipped = missing && process.env["CI"] === undefined
if (skipped) {
  process.stderr.write(
    `The tests of pages are skipped: there is no Chromium at ${executablePath}. ` +
      "Install it (apt-get install chromium), or name yours in CHROMIUM.\n"
  )
}

const args = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync"
]

export const browser = Effect.acquireRelease(
  Effect.promise(() => chromium.launch({ executablePath, args })),
  (browser) => Effect.promise(() => browser.close())
)

export interface Tab {
  readonly page: Page
  /** What a user's console would show in red. */
  readonly errors: Array<string>
  readonly requests: Set<string>
}

export const open = (browser: Browser, url: string, options: Parameters<Browser["newPage"]>[0] = {}) =>
  Effect.promise(async (): Promise<Tab> => {
    const page = await browser.newPage(options)
    const errors: Array<string> = []
    const requests = new Set<string>()
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()))
    page.on("pageerror", (error) => errors.push(String(error)))
    page.on("request", (request) => requests.add(request.url()))
    await page.goto(url)
    return { page, errors, requests }
  })

/** Playwright's own waiting; it fails after half a minute. */
export const shows = ({ page }: Tab, selector: string, text: string) =>
  Effect.promise(() => page.locator(selector, { hasText: text }).first().waitFor())

export const texts = ({ page }: Tab, selector: string) => Effect.promise(() => page.locator(selector).allTextContents())
