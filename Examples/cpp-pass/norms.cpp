// A pass, a metric and a rounding in C++17.
//
//     c++ -std=c++17 -O2 -shared -fPIC -fvisibility=hidden -I include Examples/cpp-pass/norms.cpp -o norms.so
//     resq passes --plugin ./norms.so
#include "resq_pass.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

/// The tensors of a call.
struct Tensors {
    const resq_tensor *first;
    uint32_t count;

    const resq_tensor &operator[](uint32_t place) const { return *resq_tensor_at(first, place); }

    const resq_tensor &named(const std::string &name) const {
        for (uint32_t place = 0; place < count; place++)
            if (name == (*this)[place].name) return (*this)[place];
        throw std::runtime_error("there is no tensor " + name);
    }
};

/// Something that was named in a recipe, with its options.
struct Instance {
    virtual ~Instance() = default;
    virtual std::string plan(Tensors) const { throw std::logic_error("only passes plan"); }
    /// The bytes of the one output.
    virtual std::vector<char> apply(Tensors inputs, const resq_tensor &output) const = 0;
};

/// The value of an option that is a number. resq has checked that it is one.
double number(const std::string &options, const std::string &name) {
    const auto key = "\"" + name + "\":";
    const auto place = options.find(key);
    if (place == std::string::npos) throw std::runtime_error("there is no option " + name);
    return std::stod(options.substr(place + key.size()));
}

template <class Number> std::vector<char> bytes(const std::vector<Number> &numbers) {
    std::vector<char> all(numbers.size() * sizeof(Number));
    if (!all.empty()) std::memcpy(all.data(), numbers.data(), all.size());
    return all;
}

/// A number stored as BF16: to nearest, ties to even.
uint16_t bf16(float number) {
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    if (std::isnan(number)) return static_cast<uint16_t>(bits >> 16 | 0x40);
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/// A pass: norm weights times a factor, row by row, stored as they were or as F32.
struct Norms : Instance {
    float factor;

    explicit Norms(const std::string &options) : factor(static_cast<float>(number(options, "factor"))) {}

    std::string plan(Tensors tensors) const override {
        std::string steps;
        for (uint32_t place = 0; place < tensors.count; place++) {
            const auto &tensor = tensors[place];
            if (!tensor.role || !std::strstr(tensor.role, "norm")) continue;
            const std::string name = tensor.name, type = std::strcmp(tensor.dtype, "BF16") ? "F32" : "BF16";
            // Such names would have to be escaped.
            if (name.find_first_of("\"\\") != name.npos) throw std::runtime_error("a name with quotes");
            std::string shape;
            for (uint32_t axis = 0; axis < tensor.rank; axis++) shape += (axis ? ", " : "") + std::to_string(tensor.shape[axis]);
            steps += (steps.empty() ? "" : ", ") + ("{\"inputs\": [\"" + name) + "\"], \"outputs\": [{\"name\": \"" + name + "\", \"dtype\": \""
                + type + "\", \"shape\": [" + shape + "]}], \"rows\": true, \"decoded\": true, \"note\": \"times " + std::to_string(factor) + "\"}";
        }
        return "{\"steps\": [" + steps + "]}";
    }

    std::vector<char> apply(Tensors inputs, const resq_tensor &output) const override {
        const auto *weights = static_cast<const float *>(inputs[0].data);
        const auto count = inputs[0].byte_count / sizeof(float);
        std::vector<float> scaled(weights, weights + count);
        for (auto &weight : scaled) weight *= factor;
        if (!std::strcmp(output.dtype, "F32")) return bytes(scaled);
        std::vector<uint16_t> stored(count);
        std::transform(scaled.begin(), scaled.end(), stored.begin(), bf16);
        return bytes(stored);
    }
};

/// A metric: the probability of the token that came.
struct Likelihood : Instance {
    std::vector<char> apply(Tensors inputs, const resq_tensor &) const override {
        const auto &logits = inputs.named("logits");
        const auto *next = static_cast<const int32_t *>(inputs.named("next").data);
        const auto rows = logits.shape[0], columns = logits.shape[1];
        std::vector<double> scores;
        const auto *row = static_cast<const float *>(logits.data);
        for (int64_t i = 0; i < rows; i++, row += columns) {
            const double top = *std::max_element(row, row + columns);
            double sum = 0;
            for (int64_t column = 0; column < columns; column++) sum += std::exp(row[column] - top);
            scores.push_back(std::exp(row[next[i]] - top) / sum);
        }
        return bytes(scores);
    }
};

/// A rounding: to equal steps of a row's largest number. It gives numbers, which resq then stores in the type.
struct Grid : Instance {
    float steps;

    explicit Grid(const std::string &options) : steps(static_cast<float>(number(options, "steps"))) {}

    std::vector<char> apply(Tensors inputs, const resq_tensor &) const override {
        const auto rows = inputs[0].shape[0], columns = inputs[0].shape[1];
        const auto *weights = static_cast<const float *>(inputs[0].data);
        std::vector<float> rounded(weights, weights + rows * columns);
        for (int64_t i = 0; i < rows; i++) {
            float *row = rounded.data() + i * columns;
            float largest = 0;
            for (int64_t column = 0; column < columns; column++) largest = std::max(largest, std::fabs(row[column]));
            if (largest == 0) continue;
            for (int64_t column = 0; column < columns; column++) row[column] = std::nearbyint(row[column] / largest * steps) / steps * largest;
        }
        return bytes(rounded);
    }
};

const char description[] = R"({"protocol": 1, "name": "cpp-example", "version": "1.0",
 "passes": [{"name": "norms", "summary": "Multiplies norm weights by a factor.",
   "options": [{"name": "factor", "type": "number", "default": 2.0, "summary": "What norm weights are multiplied by."}]}],
 "metrics": [{"name": "likelihood", "summary": "Probability of the token that came."}],
 "roundings": [{"name": "grid", "summary": "To equal steps of a row's largest number.", "values": true,
   "options": [{"name": "steps", "type": "integer", "low": 1, "default": 7, "summary": "Steps from zero to the largest number."}]}]})";

/// Exceptions end here and become sentences: none may cross the functions of the table.
template <class Body> int guarded(char *error, uint64_t capacity, Body body) {
    try {
        return body();
    } catch (const std::exception &exception) {
        std::snprintf(error, capacity, "%s", exception.what());
    } catch (...) {
        std::snprintf(error, capacity, "an exception that is no std::exception");
    }
    return 1;
}

int describe(resq_emit emit, void *context, char *, uint64_t) { return emit(context, 0, description, sizeof description - 1); }

int create(const char *name, const char *options, void **instance, char *error, uint64_t capacity) {
    return guarded(error, capacity, [&] {
        std::unique_ptr<Instance> made;
        if (!std::strcmp(name, "norms")) made = std::make_unique<Norms>(options);
        if (!std::strcmp(name, "likelihood")) made = std::make_unique<Likelihood>();
        if (!std::strcmp(name, "grid")) made = std::make_unique<Grid>(options);
        if (!made) throw std::runtime_error(std::string("there is no ") + name);
        *instance = made.release();
        return 0;
    });
}

int plan(
    void *instance, const char *, const resq_tensor *tensors, uint32_t count, resq_emit emit, void *context, char *error, uint64_t capacity) {
    return guarded(error, capacity, [&] {
        const auto text = static_cast<const Instance *>(instance)->plan({tensors, count});
        return emit(context, 0, text.data(), text.size());
    });
}

int apply(
    void *instance, const resq_tensor *inputs, uint32_t input_count, const resq_tensor *outputs, uint32_t, resq_emit emit, void *context,
    char *error, uint64_t capacity) {
    return guarded(error, capacity, [&] {
        const auto made = static_cast<const Instance *>(instance)->apply({inputs, input_count}, outputs[0]);
        return emit(context, 0, made.data(), made.size());
    });
}

void destroy(void *instance) { delete static_cast<Instance *>(instance); }

const resq_pass_table table = {RESQ_PASS_ABI, sizeof(resq_pass_table), describe, create, plan, apply, destroy};

} // namespace

const resq_pass_table *resq_pass_entry(void) { return &table; }
