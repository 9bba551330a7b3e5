// A library with C++ thread_local objects that have destructors.
#include <string>

extern "C" {
int cpp_built = 0, cpp_destroyed = 0;
}
struct Object {
    std::string text = "a text too long for the small string buffer";
    Object() { __atomic_add_fetch(&cpp_built, 1, __ATOMIC_ACQ_REL); }
    ~Object() { __atomic_add_fetch(&cpp_destroyed, 1, __ATOMIC_ACQ_REL); }
};
static thread_local Object object;

extern "C" int cpp_append(char c) {
    object.text += c;
    return static_cast<int>(object.text.size());
}
extern "C" int cpp_throw(int n) {
    try {
        throw n;
    } catch (int v) {
        return v;
    }
}
