/** The client is bundled for browsers: nothing of Node may be in it. */
import { assert, describe, it } from "@effect/vitest"
import { build } from "esbuild"
import { fileURLToPath } from "node:url"

const entry = fileURLToPath(new URL("../../src/client/index.ts", import.meta.url))

describe("the entry", () => {
  it("is bundled for a browser, without Node and without the server", async () => {
    const { metafile, outputFiles } = await build({
      entryPoints: [entry],
      bundle: true,
      write: false,
      metafile: true,
      platform: "browser",
      format: "esm",
      treeShaking: true,
      logLevel: "silent"
    })
    const inputs = Object.keys(metafile.inputs)
    assert.deepStrictEqual(inputs.filter((path) => /^src\/(?!client\/)/.test(path)).sort(), [
      "src/channels/ChannelCodec.ts",
      "src/channels/ChannelDefinition.ts",
      "src/channels/ChannelPattern.ts",
      "src/channels/ProtocolCode.ts",
      "src/core/CloseReason.ts",
      "src/core/HubError.ts",
      "src/core/Signal.ts"
    ])
    assert.deepStrictEqual(inputs.filter((path) => /(^|\/)node_modules\/(ws|jose|@effect)\//.test(path)), [])
    assert.notMatch(outputFiles[0]?.text ?? "", /from "node:|require\("/)
  })
})
