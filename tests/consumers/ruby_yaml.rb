# YAML as Ruby reads it, any object included. In as in python_dotenv.py; out: what each document holds.
require "base64"
require "json"
require "yaml"

answers = JSON.parse($stdin.read).map do |file|
  YAML.unsafe_load(Base64.decode64(file).force_encoding("UTF-8"))
rescue StandardError, SyntaxError
  nil
end
puts JSON.generate(answers)
