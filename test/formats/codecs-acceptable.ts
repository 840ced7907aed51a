/**
 * What each provider refuses, written down apart from the codecs: the recorded 400s in ../shared/data/streams/errors, the
 * documented rules, and what the real requests there show to be taken. Each check lists what is wrong with a request.
 */
type Fields = Record<string, unknown>

/** Ids of codecs, and the bodies that they make. */
export const checks: Record<string, (body: Fields) => string[]> = {
  'anthropic.messages': checkAnthropic,
  'openai.chat': checkChat,
  'openai.responses': checkResponses,
  'gemini.contents': checkGemini,
  'ai-sdk.model': checkAiSdkModel,
  'ai-sdk.ui': checkAiSdkUi,
  'langchain.messages': checkLangChain,
}

function checkAnthropic(body: Fields): string[] {
  const problems = checkText(body)
  const messages = body.messages as Fields[]
  const used = new Set<string>()
  const serverCalls = new Set<string>()
  let hints = 0
  let open: string[] = []
  if (Array.isArray(body.system)) {
    if (body.system.length === 0) problems.push('system is empty')
    for (const block of body.system as Fields[]) {
      if (block.type !== 'text' || blank(block.text)) problems.push('system takes text with characters only')
      if (block.cache_control) hints++
    }
  }
  messages.forEach((message, i) => {
    const at = `messages.${i}`
    const role = i % 2 === 0 ? 'user' : 'assistant'
    if (message.role !== role) problems.push(`${at}: roles must take turns, the user first`)
    const blocks = typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : (message.content as Fields[])
    if (blocks.length === 0) problems.push(`${at}: all messages must have non-empty content`)
    const results = blocks.filter(({ type }) => type === 'tool_result').map((block) => String(block.tool_use_id))
    const leading = blocks.slice(0, results.length).every(({ type }) => type === 'tool_result')
    if (!leading) problems.push(`${at}: tool_result blocks must come first`)
    if (open.toSorted().join() !== results.toSorted().join()) {
      problems.push(`${at}: tool_use ids were found without tool_result blocks immediately after, or the other way round`)
    }
    open = []
    const said = blocks.some((block) => block.type !== 'text' || !blank(block.text))
    blocks.forEach((block, j) => {
      if (block.cache_control) hints++
      switch (block.type) {
        case 'text':
          if (block.text === '' || (blank(block.text) && (role === 'user' || !said)))
            problems.push(`${at}: text content blocks must be non-empty`)
          break
        case 'image':
        case 'document':
          if (role !== 'user') problems.push(`${at}: media in an answer`)
          problems.push(...checkAnthropicMedia(block).map((problem) => `${at}: ${problem}`))
          break
        case 'thinking':
        case 'redacted_thinking':
          if (role !== 'assistant') problems.push(`${at}: thinking of the user`)
          if (blocks.slice(j).every(({ type }) => String(type).includes('thinking')))
            problems.push(`${at}: the final block cannot be thinking`)
          if (!(block.signature || block.data)) problems.push(`${at}: thinking without signature`)
          break
        case 'tool_use':
          if (role !== 'assistant') problems.push(`${at}: tool_use of the user`)
          if (used.has(String(block.id))) problems.push(`${at}: tool_use ids must be unique`)
          used.add(String(block.id))
          open.push(String(block.id))
          problems.push(...checkNames(at, block.id, /^[a-zA-Z0-9_-]+$/, block.name, /^[a-zA-Z0-9_-]{1,128}$/))
          if (!isObject(block.input)) problems.push(`${at}: input must be an object`)
          break
        case 'tool_result':
          if (block.is_error !== undefined && typeof block.is_error !== 'boolean') problems.push(`${at}: is_error`)
          for (const piece of typeof block.content === 'string' ? [] : ((block.content ?? []) as Fields[])) {
            if (piece.type === 'text' && blank(piece.text)) problems.push(`${at}: text content blocks must be non-empty`)
            if (piece.type === 'image' || piece.type === 'document') problems.push(...checkAnthropicMedia(piece))
          }
          break
        case 'server_tool_use':
        case 'mcp_tool_use':
          serverCalls.add(String(block.id))
          if (!answeredLater(messages.slice(i), String(block.id)) && i < messages.length - 1)
            problems.push(`${at}: server tool without result`)
          break
        case 'compaction':
        case 'container_upload':
        case 'search_result':
          break
        default:
          if (!String(block.type).endsWith('_tool_result')) problems.push(`${at}: unknown block ${String(block.type)}`)
          else if (!serverCalls.has(String(block.tool_use_id))) problems.push(`${at}: result of an unknown server tool`)
      }
    })
  })
  if (open.length > 0) problems.push('the last message calls tools without results')
  const last = messages.at(-1)
  const end = Array.isArray(last?.content) ? (last.content as Fields[]).at(-1)?.text : last?.content
  if (last?.role === 'assistant' && typeof end === 'string' && end !== end.trimEnd()) {
    problems.push('final assistant content cannot end with trailing whitespace')
  }
  if (hints > 4) problems.push('a maximum of 4 blocks with cache_control may be provided')
  return problems
}

function checkAnthropicMedia({ type, source }: Fields): string[] {
  const { type: kind, media_type: mediaType, data } = source as Fields
  if (kind === 'base64') {
    if (typeof data !== 'string' || data === '') return ['media without data']
    const taken = type === 'image' ? /^image\/(jpeg|png|gif|webp)$/ : /^application\/pdf$/
    return taken.test(String(mediaType)) ? [] : [`${String(type)} of type ${String(mediaType)}`]
  }
  if (kind === 'text') return type === 'document' && mediaType === 'text/plain' ? [] : ['text source']
  return kind === 'url' || kind === 'file' ? [] : ['unknown source']
}

const answeredLater = (messages: readonly Fields[], id: string): boolean =>
  messages.some(({ content }) => Array.isArray(content) && content.some((block: Fields) => block.tool_use_id === id))

function checkChat(body: Fields): string[] {
  const problems = checkText(body)
  let open = new Set<unknown>()
  for (const [i, message] of (body.messages as Fields[]).entries()) {
    const at = `messages.${i}`
    const { role, content } = message
    const calls = message.tool_calls as Fields[] | undefined
    if (role === 'tool') {
      if (!open.delete(message.tool_call_id))
        problems.push(`${at}: messages with role 'tool' must be a response to a preceding message with 'tool_calls'`)
      if (content === null || content === undefined) problems.push(`${at}: a result has content`)
    } else if (open.size > 0) {
      problems.push(`${at}: an assistant message with 'tool_calls' must be followed by tool messages responding to each`)
      open = new Set()
    }
    if (role === 'assistant') {
      const isSaid = (typeof content === 'string' || (Array.isArray(content) && content.length > 0)) && content !== undefined
      if (!isSaid && !calls && typeof message.refusal !== 'string') problems.push(`${at}: no content and no calls`)
      if (calls?.length === 0) problems.push(`${at}: tool_calls is too short`)
    } else if (role !== 'tool' && (content === null || content === undefined || content === '' || (content as []).length === 0)) {
      problems.push(`${at}: no content`)
    }
    for (const block of Array.isArray(content) ? (content as Fields[]) : []) {
      const taken =
        role === 'user' ? ['text', 'image_url', 'input_audio', 'file'] : role === 'assistant' ? ['text', 'refusal'] : ['text']
      if (!taken.includes(String(block.type))) problems.push(`${at}: ${String(block.type)} of the ${String(role)}`)
    }
    if (message.name !== undefined && role !== 'tool' && !/^[^\s<|\\/>]{1,64}$/.test(message.name as string))
      problems.push(`${at}: name`)
    for (const call of calls ?? []) {
      const { name, arguments: args, input } = { ...(call.function as Fields), ...(call.custom as Fields) }
      if (open.has(call.id)) problems.push(`${at}: two calls with one id`)
      open.add(call.id)
      problems.push(...checkNames(at, call.id, /^[ -~]{1,40}$/, name, /^[a-zA-Z0-9_-]{1,64}$/))
      if (typeof (args ?? input) !== 'string') problems.push(`${at}: arguments must be a string`)
    }
  }
  if (open.size > 0) problems.push('calls without results at the end')
  return problems
}

const ownItems =
  /^(web_search_call|file_search_call|code_interpreter_call|image_generation_call|mcp_call|mcp_list_tools|mcp_approval_request|item_reference)$/

function checkResponses(body: Fields): string[] {
  const problems = checkText(body)
  const input = typeof body.input === 'string' ? [] : (body.input as Fields[])
  const calls = new Map<unknown, string>()
  const open = new Set<unknown>()
  for (const [i, item] of input.entries()) {
    const at = `input.${i}`
    const type = item.type === undefined && item.role !== undefined ? 'message' : String(item.type)
    // The recorded 400 of DeepSeek: `No tool output found for tool call call-a.`
    if (open.size > 0 && (type === 'message' || type === 'reasoning'))
      problems.push(`${at}: no tool output found for ${[...open].join()}`)
    if (type === 'message') problems.push(...checkResponsesMessage(at, item))
    else if (type === 'reasoning') {
      const next = input.slice(i + 1).find((other) => other.type !== 'reasoning')
      const isLost =
        next === undefined || (next.role !== undefined && next.role !== 'assistant') || String(next.type).endsWith('_output')
      // The recorded 400 of OpenAI: the item it led to is known by its id, and what followed was written anew.
      const isRewritten = item.id !== undefined && next?.role === 'assistant' && next.id === undefined
      if (isLost || isRewritten) problems.push(`${at}: reasoning was provided without its required following item`)
    } else if (type.endsWith('_output')) {
      const call = calls.get(item.call_id)
      if (!open.delete(item.call_id)) problems.push(`${at}: no tool call found for the output ${String(item.call_id)}`)
      else if (`${call}_output` !== type && `${call?.replace(/_call$/, '')}_output` !== type)
        problems.push(`${at}: ${type} answers ${String(call)}`)
      if (type === 'function_call_output' && item.output === undefined) problems.push(`${at}: no output`)
    } else if (type.endsWith('_call') && item.call_id !== undefined) {
      if (calls.has(item.call_id)) problems.push(`${at}: two calls with one id`)
      calls.set(item.call_id, type)
      open.add(item.call_id)
      if (type === 'function_call' || type === 'custom_tool_call') {
        problems.push(...checkNames(at, item.call_id, /^[ -~]{1,64}$/, item.name, /^[a-zA-Z0-9_-]{1,128}$/))
        if (typeof (item.arguments ?? item.input) !== 'string') problems.push(`${at}: arguments must be a string`)
      }
    } else if (type === 'compaction') {
      if (typeof item.encrypted_content !== 'string') problems.push(`${at}: compaction without content`)
    } else if (type !== 'mcp_approval_response' && !ownItems.test(type)) problems.push(`${at}: unknown item ${type}`)
  }
  if (open.size > 0) problems.push(`no tool output found for ${[...open].join()}`)
  return problems
}

function checkResponsesMessage(at: string, { role, content }: Fields): string[] {
  if (typeof content === 'string') return content === '' && role !== 'assistant' ? [`${at}: no content`] : []
  const blocks = content as Fields[]
  const taken =
    role === 'assistant'
      ? ['output_text', 'refusal']
      : role === 'user'
        ? ['input_text', 'input_image', 'input_file']
        : ['input_text']
  const strange = blocks.filter(({ type }) => !taken.includes(String(type)))
  return [
    ...(blocks.length === 0 ? [`${at}: no content`] : []),
    ...strange.map(({ type }) => `${at}: ${String(type)} of the ${String(role)}`),
  ]
}

function checkGemini(body: Fields): string[] {
  const problems = checkText(body)
  const system = body.systemInstruction as { parts: Fields[] } | undefined
  if (system && (system.parts.length === 0 || system.parts.some(({ text }) => blank(text))))
    problems.push('empty system instruction')
  const contents = body.contents as { role?: string; parts: Fields[] }[]
  let open: Fields[] = []
  contents.forEach(({ role = 'user', parts }, i) => {
    const at = `contents.${i}`
    const isModel = role === 'model'
    if (isModel !== (i % 2 === 1)) problems.push(`${at}: roles must take turns, the user first`)
    if (parts.length === 0) problems.push(`${at}: parts must not be empty`)
    const responses = parts.flatMap((part) => (isObject(part.functionResponse) ? [part.functionResponse] : []))
    if (responses.map(nameOf).toSorted().join() !== open.map(nameOf).toSorted().join()) {
      problems.push(
        `${at}: the number of function response parts is equal to the number of function call parts of the function call turn`,
      )
    }
    open = parts.flatMap((part) => (isObject(part.functionCall) ? [part.functionCall] : []))
    if (open.length > 0 && !isModel) problems.push(`${at}: the user calls functions`)
    for (const call of open) {
      if (call.args !== undefined && !isObject(call.args)) problems.push(`${at}: args must be an object`)
      problems.push(...checkNames(at, 'x', /x/, call.name, /^[a-zA-Z0-9_.:-]{1,64}$/))
    }
    for (const { response } of responses) if (!isObject(response)) problems.push(`${at}: response must be an object`)
    for (const part of parts) {
      if (part.text !== undefined && blank(part.text) && part.thoughtSignature === undefined && !part.thought)
        problems.push(`${at}: empty text`)
      if (part.thought && !isModel) problems.push(`${at}: thought of the user`)
    }
  })
  if (open.length > 0) problems.push('function calls without responses at the end')
  return problems
}

const nameOf = ({ name, id }: Fields): string => JSON.stringify([name, id])

function checkAiSdkModel(body: Fields): string[] {
  const problems = checkText(body)
  const calls = new Map<unknown, unknown>()
  const asked = new Map<unknown, unknown>()
  let open = new Set<unknown>()
  const allowed: Record<string, string[]> = {
    user: ['text', 'file', 'image'],
    assistant: ['text', 'file', 'reasoning', 'tool-call', 'tool-result', 'tool-approval-request', 'custom', 'reasoning-file'],
    tool: ['tool-result', 'tool-approval-response'],
  }
  for (const [i, { role, content }] of (body.messages as Fields[]).entries()) {
    const at = `messages.${i}`
    if (role === 'system' && typeof content !== 'string') problems.push(`${at}: the content of a system message is a string`)
    if ((content as string | []).length === 0) problems.push(`${at}: no content`)
    if (role !== 'tool' && open.size > 0) {
      problems.push(`${at}: tool results are missing for ${[...open].join()}`)
      open = new Set()
    }
    for (const part of Array.isArray(content) ? (content as Fields[]) : []) {
      if (!allowed[String(role)]?.includes(String(part.type))) problems.push(`${at}: ${String(part.type)} of the ${String(role)}`)
      if (part.type === 'tool-call') {
        if (calls.has(part.toolCallId)) problems.push(`${at}: two calls with one id`)
        calls.set(part.toolCallId, part.toolName)
        if (!part.providerExecuted) open.add(part.toolCallId)
      }
      if (part.type === 'tool-result') {
        open.delete(part.toolCallId)
        if (calls.get(part.toolCallId) !== part.toolName) problems.push(`${at}: a result of no call`)
      }
      if (part.type === 'tool-approval-request') asked.set(part.approvalId, part.toolCallId)
      if (part.type === 'tool-approval-response') open.delete(asked.get(part.approvalId))
    }
  }
  if (open.size > 0) problems.push(`tool results are missing for ${[...open].join()}`)
  return problems
}

function checkAiSdkUi(body: Fields): string[] {
  const problems = checkText(body)
  const messages = body.messages as { id: string; role: string; parts: Fields[] }[]
  const ids = messages.map(({ id }) => id)
  const calls = messages.flatMap(({ parts }) => parts.flatMap(({ toolCallId }) => (toolCallId === undefined ? [] : [toolCallId])))
  if (new Set(calls).size < calls.length) problems.push('two calls with one id')
  if (new Set(ids).size < ids.length) problems.push('two messages with one id')
  messages.forEach(({ role, parts }, i) => {
    const at = `messages.${i}`
    if (!['system', 'user', 'assistant'].includes(role)) problems.push(`${at}: role ${role}`)
    if (parts.length === 0) problems.push(`${at}: a message must contain at least one part`)
    for (const part of parts) {
      const type = String(part.type)
      const isTool = type === 'dynamic-tool' || type.startsWith('tool-')
      if (isTool) problems.push(...checkUiTool(part).map((problem) => `${at}: ${problem}`))
      if (role !== 'assistant' && type !== 'text' && (role !== 'user' || type !== 'file'))
        problems.push(`${at}: ${type} of the ${role}`)
      if (type === 'file' && (typeof part.url !== 'string' || typeof part.mediaType !== 'string')) problems.push(`${at}: file`)
    }
  })
  return problems
}

function checkUiTool({ state, output, errorText, approval, providerExecuted }: Fields): string[] {
  switch (state) {
    case 'output-available':
      return output === undefined ? ['no output'] : []
    case 'output-error':
      return typeof errorText === 'string' ? [] : ['no errorText']
    case 'output-denied':
      return (approval as Fields)?.approved === false ? [] : ['denied without approval']
    case 'approval-responded':
      return typeof (approval as Fields)?.approved === 'boolean' ? [] : ['no answer']
    default:
      return providerExecuted ? [] : [`a tool result is missing in state ${String(state)}`]
  }
}

function checkLangChain(body: Fields): string[] {
  const problems = checkText(body)
  let open = new Set<unknown>()
  for (const [i, written] of (body.messages as Fields[]).entries()) {
    const at = `messages.${i}`
    const message = written.type === 'constructor' ? { type: langChainType(written), ...(written.kwargs as Fields) } : written
    if (message.type === 'tool') {
      if (!open.delete(message.tool_call_id)) problems.push(`${at}: a result of no call`)
      continue
    }
    if (open.size > 0) problems.push(`${at}: results are missing for ${[...open].join()}`)
    open = new Set()
    if (!['human', 'ai', 'system'].includes(String(message.type))) problems.push(`${at}: type ${String(message.type)}`)
    for (const call of [...((message.tool_calls ?? []) as Fields[]), ...((message.invalid_tool_calls ?? []) as Fields[])]) {
      if (open.has(call.id)) problems.push(`${at}: two calls with one id`)
      open.add(call.id)
      if (call.type === 'tool_call' && !isObject(call.args)) problems.push(`${at}: args must be an object`)
    }
  }
  if (open.size > 0) problems.push(`results are missing for ${[...open].join()}`)
  return problems
}

function langChainType({ id }: Fields): string {
  const types: Record<string, string> = { HumanMessage: 'human', AIMessage: 'ai', SystemMessage: 'system', ToolMessage: 'tool' }
  return types[String((id as unknown[]).at(-1))] ?? 'unknown'
}

function checkNames(at: string, id: unknown, idPattern: RegExp, name: unknown, namePattern: RegExp): string[] {
  return [
    ...(typeof id === 'string' && idPattern.test(id) ? [] : [`${at}: the id ${JSON.stringify(id)} is not legal`]),
    ...(typeof name === 'string' && namePattern.test(name) ? [] : [`${at}: the name ${JSON.stringify(name)} is not legal`]),
  ]
}

/** A request is UTF-8, and nothing of ours is left in it. */
function checkText(body: Fields): string[] {
  const text = JSON.stringify(body)
  return [
    // JSON.stringify writes half of a pair as an escape.
    ...(/(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(text) ? ['half of a surrogate pair'] : []),
    // Our marker has a size; a key of that name alone is somebody's own.
    ...(/"\$media":"[^"]*","bytes":\d/.test(text) ? ['a file was left out'] : []),
  ]
}

const blank = (text: unknown): boolean => typeof text !== 'string' || text.trim() === ''
const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value)
