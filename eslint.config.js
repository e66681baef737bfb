import disableConflictRules from "@effect/eslint-plugin/configs/disable-conflict-rules"
import * as effect from "@effect/eslint-plugin/plugin"
import { defineConfig } from "eslint/config"
import tseslint from "typescript-eslint"

/**
 * The floors under `src/`, top to bottom. A floor imports from itself, from the floors named in `floors`, and, where
 * `packages` is a list, only from packages that start so. An entry ending in `$` is the whole specifier.
 */
const floors = {
  core: { floors: [], packages: ["effect/"] },
  node: { floors: ["core"], packages: ["effect/", "@effect/platform/", "@effect/platform-node/", "node:", "ws$"] },
  channels: { floors: ["core"], packages: ["effect/", "@effect/platform/", "jose/"] },
  redis: { floors: ["core", "channels"], packages: ["effect/", "redis$", "node:"] },
  client: { floors: ["core", "channels"], packages: ["effect/", "centrifuge$"] },
  testing: { floors: ["core", "channels"], packages: ["effect/"] },
  server: { floors: ["core", "node", "channels", "redis", "client", "testing"] }
}

/** Floors that run on any JavaScript engine: Node's globals are out as well as its modules. */
const portable = ["core", "channels", "client", "testing"]

const nodeGlobals = ["Buffer", "process", "global", "require", "__dirname"]
  .map((name) => ({ name, message: "This floor runs without Node." }))

const barrels = ["effect", "@effect/platform", "@effect/platform-node", "@effect/cli"]

const importRules = (title, toFloor, floorsAllowed, packages) => {
  const forbidden = Object.keys(floors).filter((name) => name !== title && !floorsAllowed.includes(name))
  const patterns = [
    { regex: "^(\\.\\./)+index\\.js$", message: "Import the file that has it, not the entry point." },
    { regex: "^effect-ws-hub(/|$)", message: "Inside src, import files by relative path." },
    { regex: `^(${barrels.join("|")})$`, message: "Import one module as a namespace: effect/Effect." }
  ]
  if (forbidden.length > 0) {
    patterns.push({
      regex: `^${toFloor}(${forbidden.join("|")})(/|$)`,
      message: `${title} imports from ${
        floorsAllowed.join(", ") || "no other floor"
      } only: imports point down the floors.`
    })
  }
  if (packages !== undefined) {
    patterns.push({
      regex: `^(?!${["\\.{1,2}/", ...packages].join("|")})`,
      message: `${title} imports ${packages.map((name) => name.replace("$", "")).join(", ") || "no package"} only.`
    })
  }
  return { "@typescript-eslint/no-restricted-imports": ["error", { patterns }] }
}

export default defineConfig(
  { ignores: ["**/node_modules", "dist", "coverage", ".snippets", "api", "**/.build"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    name: "effect-ws-hub/format",
    files: ["**/*.ts", "**/*.js", "**/*.mjs"],
    extends: [disableConflictRules],
    plugins: { "@effect": effect },
    rules: {
      "@effect/dprint": ["error", {
        config: {
          indentWidth: 2,
          lineWidth: 120,
          semiColons: "asi",
          quoteStyle: "alwaysDouble",
          trailingCommas: "never",
          operatorPosition: "maintain",
          "arrowFunction.useParentheses": "force"
        }
      }],
      "object-shorthand": "error",
      "prefer-const": "error",
      "no-var": "error",
      eqeqeq: "error"
    }
  },
  {
    name: "effect-ws-hub/typescript",
    files: ["**/*.ts"],
    extends: [tseslint.configs.recommended],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/no-empty-object-type": "off",
      "@typescript-eslint/no-namespace": "off",
      "@typescript-eslint/no-this-alias": "off",
      "require-yield": "off"
    }
  },
  {
    name: "effect-ws-hub/src",
    files: ["src/**/*.ts"],
    rules: {
      "no-console": "error",
      "@effect/no-import-from-barrel-package": ["error", { packageNames: barrels }],
      "no-restricted-syntax": ["error", {
        selector: "ImportExpression",
        message: "Use an import statement: the direction of imports is checked there."
      }]
    }
  },
  {
    name: "effect-ws-hub/src/index",
    files: ["src/*.ts"],
    rules: importRules("src/index.ts", "\\./", ["core", "node", "channels"], [])
  },
  Object.entries(floors).map(([name, floor]) => ({
    name: `effect-ws-hub/floors/${name}`,
    files: [`src/${name}/**/*.ts`],
    rules: {
      ...importRules(name, "(\\.\\./)+", floor.floors, floor.packages),
      ...(portable.includes(name) ? { "no-restricted-globals": ["error", ...nodeGlobals] } : {})
    }
  }))
)
